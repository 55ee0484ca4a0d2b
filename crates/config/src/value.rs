//! The types that a setting's value can have.

use crate::tree::Data;

/// A type that can be read from a typed value.
pub(crate) trait FromData: Sized {
    /// The type for people, with its article: "a whole number".
    fn expected() -> String;

    /// The words that are allowed, where only some are.
    fn words() -> &'static [&'static str] {
        &[]
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

    fn words() -> &'static [&'static str] {
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

    fn words() -> &'static [&'static str] {
        T::words()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::List(_) => Vec::from_data(data).map(Self),
            one => T::from_data(one).map(|one| Self(vec![one])),
        }
    }
}

/// Declares an enum whose values are words in files and in JSON.
macro_rules! choice {
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
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in pipeline files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl crate::value::FromData for $name {
            fn expected() -> String {
                format!("one of {}", [$(concat!("`", $word, "`")),+].join(", "))
            }

            fn words() -> &'static [&'static str] {
                &[$($word),+]
            }

            fn from_data(data: &crate::tree::Data) -> Option<Self> {
                match data {
                    crate::tree::Data::Text(text) => {
                        Self::ALL.iter().copied().find(|value| value.name() == text)
                    }
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use choice;
