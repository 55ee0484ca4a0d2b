//! An enum whose values are words.
//!
//! Declared by a macro rather than by the derives of strum, because serde and strum would each want the spelling.

use std::fmt;
use std::str::FromStr;

/// A choice out of a closed list of words.
pub trait Word: Copy + Eq + fmt::Display + FromStr<Err = UnknownWord> + 'static {
    /// Every value, in order.
    const ALL: &'static [Self];

    /// Its spelling.
    fn name(self) -> &'static str;

    /// Its documentation: a sentence.
    fn meaning(self) -> &'static str;
}

/// A word that is not on a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {}", known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "))]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The list.
    pub known: Vec<&'static str>,
}

/// Declares a [`Word`]; `default` names the value of [`Default`], where there is one.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident $(default $default:ident)? {
            $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
            schemars::JsonSchema,
        )]
        pub enum $name {
            $($(#[doc = $meaning])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its spelling in pipeline files, artifacts and the registry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of that spelling.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl $crate::word::Word for $name {
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }

            fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim_ascii()),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::word::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_name(text).ok_or_else(|| $crate::word::UnknownWord {
                    word: text.to_owned(),
                    known: Self::ALL.iter().map(|value| value.name()).collect(),
                })
            }
        }

        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn check<T: Word + Debug + Serialize + DeserializeOwned>() {
        let names: BTreeSet<&str> = T::ALL.iter().map(|word| word.name()).collect();
        assert_eq!(
            names.len(),
            T::ALL.len(),
            "two values of one spelling: {names:?}"
        );
        for &word in T::ALL {
            assert_eq!(serde_json::to_value(word).unwrap(), word.name());
            assert_eq!(
                serde_json::from_value::<T>(word.name().into()).unwrap(),
                word
            );
            assert_eq!(word.to_string().parse::<T>(), Ok(word));
            assert!(
                word.meaning().ends_with('.'),
                "{word:?}: {}",
                word.meaning()
            );
        }
        let unknown = "no-word".parse::<T>().unwrap_err();
        assert_eq!(unknown.known.len(), T::ALL.len());
    }

    #[test]
    fn a_word_is_spelt_alike_everywhere() {
        check::<crate::Kind>();
        check::<crate::Format>();
        check::<crate::Split>();
        check::<crate::Labels>();
        check::<crate::Transform>();
        check::<crate::EmojiGroup>();
        check::<crate::SkinTones>();
        check::<crate::Export>();
        check::<crate::PixelRange>();
        check::<crate::LatentScaling>();
        check::<crate::Spread>();
        check::<crate::Architecture>();
        check::<crate::Preconditioning>();
        check::<crate::Precision>();
        check::<crate::PatchSchedule>();
        check::<crate::EmaKind>();
        check::<crate::OnDivergence>();
        check::<crate::AugmentOperation>();
        check::<crate::Solver>();
        check::<crate::Discretization>();
        check::<crate::NoiseSchedule>();
        check::<crate::Scaling>();
        check::<crate::SampleLabels>();
        check::<crate::Resize>();
        check::<crate::Crop>();
        check::<crate::Baseline>();
        check::<crate::Metric>();
        check::<crate::Quantity>();
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_known_ones() {
        let refused = "huen".parse::<crate::Solver>().unwrap_err().to_string();
        assert_eq!(
            refused,
            "`huen` is none of `heun`, `euler`, `dpm-solver-2m`"
        );
    }
}
