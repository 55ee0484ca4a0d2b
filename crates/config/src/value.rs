//! The types that a setting's value can have.

use crate::tree::Data;

/// A type that can be read from a typed value.
pub(crate) trait FromData: Sized {
    /// The type for people, with its article: "a whole number".
    fn expected() -> String;

    /// The words that are allowed, where only some are.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }

    /// The value, if the data is of this type.
    fn from_data(data: &Data) -> Option<Self>;
}

impl FromData for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        if let Data::Boolean(truth) = data {
            Some(*truth)
        } else {
            None
        }
    }
}

impl FromData for String {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        if let Data::Text(text) = data {
            Some(text.clone())
        } else {
            None
        }
    }
}

impl FromData for f64 {
    fn expected() -> String {
        "a number".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::Number(number) => Some(*number),
            Data::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl FromData for u64 {
    fn expected() -> String {
        "a whole number, 0 or above".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        if let Data::Integer(number) = data {
            Self::try_from(*number).ok()
        } else {
            None
        }
    }
}

impl FromData for u32 {
    fn expected() -> String {
        u64::expected()
    }

    fn from_data(data: &Data) -> Option<Self> {
        if let Data::Integer(number) = data {
            Self::try_from(*number).ok()
        } else {
            None
        }
    }
}

impl<T: FromData> FromData for Vec<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn words() -> Vec<&'static str> {
        T::words()
    }

    fn from_data(data: &Data) -> Option<Self> {
        if let Data::List(items) = data {
            items.iter().map(T::from_data).collect()
        } else {
            None
        }
    }
}

/// A list, or one item without the brackets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T: FromData> FromData for OneOrMany<T> {
    fn expected() -> String {
        format!("{}, or a list of them", T::expected())
    }

    fn words() -> Vec<&'static str> {
        T::words()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::List(_) => Vec::from_data(data).map(Self),
            one => T::from_data(one).map(|one| Self(vec![one])),
        }
    }
}

/// Words are read from strings.
macro_rules! read_words {
    ($($name:ident),+) => {
        $(impl FromData for patchwork_terms::$name {
            fn expected() -> String {
                let words: Vec<String> = Self::words().iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", words.join(", "))
            }

            fn words() -> Vec<&'static str> {
                Self::ALL.iter().map(|value| value.name()).collect()
            }

            fn from_data(data: &Data) -> Option<Self> {
                match data {
                    Data::Text(text) => Self::from_name(text),
                    _ => None,
                }
            }
        })+
    };
}
read_words!(
    Architecture,
    AugmentOperation,
    Baseline,
    Crop,
    Discretization,
    EmaKind,
    EmojiGroup,
    Export,
    Format,
    Kind,
    Labels,
    Metric,
    NoiseSchedule,
    OnDivergence,
    PatchSchedule,
    Precision,
    Preconditioning,
    Resize,
    SampleLabels,
    Scaling,
    SkinTones,
    Solver,
    Split,
    Transform
);
