//! Where runs and stages stand, with the words that the database checks for.

/// Declares an enum that is stored as text.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, sqlx::Type,
        )]
        #[sqlx(type_name = "TEXT")]
        pub enum $name {
            $($(#[$variant_attribute])* #[serde(rename = $word)] #[sqlx(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word for it in the database and in listings.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }
    };
}
pub(crate) use named;

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
        /// Its artifact was there already.
        Cached = "cached",
        /// Its artifact was made.
        Succeeded = "succeeded",
        /// Its last attempt failed.
        Failed = "failed",
        /// It was stopped and goes on from its last durable point when run again.
        Interrupted = "interrupted",
        /// Something that it needs did not come about, or the run ended before its turn.
        Skipped = "skipped",
    }
}

impl StageStatus {
    /// Whether the stage's artifact is there.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Cached | Self::Succeeded)
    }

    /// Whether nothing more happens to the stage in this run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}
