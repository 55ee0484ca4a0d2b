//! Where runs and stages stand, and how much a message matters, with their words in records and listings.

/// A word that is not among those of a type.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not among the words for it")]
pub struct UnknownWord(String);

/// Declares an enum that is written as a word.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_attribute])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word for it in records, in the database and in listings.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownWord;

            fn try_from(word: String) -> Result<Self, UnknownWord> {
                match word.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord(word)),
                }
            }
        }
    };
}

named! {
    /// Where a run stands.
    pub enum RunStatus {
        /// Its supervisor is at work, or was when it was last heard of.
        Running = "running",
        /// Every stage succeeded or was cached.
        Succeeded = "succeeded",
        /// A stage failed.
        Failed = "failed",
        /// It was stopped.
        Interrupted = "interrupted",
    }
}

named! {
    /// Where a stage of a run stands.
    pub enum StageStatus {
        /// Not started.
        Pending = "pending",
        /// A worker is at it.
        Running = "running",
        /// Its artifact was present already.
        Cached = "cached",
        /// Its artifact was made.
        Succeeded = "succeeded",
        /// Its last attempt failed.
        Failed = "failed",
        /// It was stopped and resumes from its last durable point when run again.
        Interrupted = "interrupted",
        /// Something that it needs did not come about, or the run ended before its turn.
        Skipped = "skipped",
    }
}

impl StageStatus {
    /// Whether the stage's artifact is present.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Cached | Self::Succeeded)
    }

    /// Whether nothing more happens to the stage in this run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

named! {
    /// How much a message matters.
    pub enum MessageLevel {
        /// A notice.
        Info = "info",
        /// Something is not as it should be.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}
