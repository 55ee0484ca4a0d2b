//! serde's view of the tree: a table is read as a struct, and what does not fit is described for people.
//!
//! A deserializer of our own, since serde's crates for paths and ignored keys give neither the type that was expected in
//! words nor the words that were possible, and would need a third for the places.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::tree::{Data, Entry, Table};

/// What does not fit, and the keys that lead to it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) path: Vec<String>,
    pub(crate) problem: Trouble,
}

#[derive(Debug)]
pub(crate) enum Trouble {
    /// A key that a table below the one that is read does not have.
    Unknown {
        key: String,
        known: &'static [&'static str],
    },
    Missing {
        key: &'static str,
    },
    Wrong(Wrong),
    /// What a type says of a value of the right kind: the rest of a sentence about its key.
    Invalid(String),
}

/// A value of a wrong type, or none of some words.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) expected: String,
    /// The value, once the one that read it has said it.
    pub(crate) found: Option<String>,
    /// The word that was typed, where words were expected.
    pub(crate) typed: Option<String>,
    pub(crate) words: &'static [&'static str],
}

impl Trouble {
    /// How many keys at the end of the path are the problem's own: those of a table are reported by its section.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Unknown { .. } | Self::Missing { .. } => 0,
            Self::Wrong(_) | Self::Invalid(_) => 1,
        }
    }

    fn wrong(expected: String) -> Self {
        Self::Wrong(Wrong {
            expected,
            found: None,
            typed: None,
            words: &[],
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, .. } => write!(formatter, "has the unknown key `{key}`"),
            Self::Missing { key } => write!(formatter, "is missing `{key}`"),
            Self::Wrong(wrong) => write!(formatter, "must be {}", wrong.expected),
            Self::Invalid(problem) => formatter.write_str(problem),
        }
    }
}

impl From<Trouble> for Fault {
    fn from(problem: Trouble) -> Self {
        Self {
            path: Vec::new(),
            problem,
        }
    }
}

impl Fault {
    /// The fault of the value under a key.
    fn under(mut self, entry: &Entry) -> Self {
        if let Trouble::Wrong(wrong) = &mut self.problem {
            wrong
                .found
                .get_or_insert_with(|| entry.value.data.to_string());
        }
        self.path.insert(0, entry.key.clone());
        self
    }

    /// The fault of an item of a list.
    fn in_list(mut self, item: &Data) -> Self {
        if let Trouble::Wrong(wrong) = &mut self.problem {
            wrong.expected = format!("a list, each item {}", wrong.expected);
            wrong.found.get_or_insert_with(|| item.to_string());
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Trouble::Invalid(message.to_string()).into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Trouble::wrong(in_words(&expected.to_string())).into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Trouble::wrong(in_words(&expected.to_string())).into()
    }

    fn unknown_variant(typed: &str, words: &'static [&'static str]) -> Self {
        Trouble::Wrong(Wrong {
            expected: one_of(words),
            found: Some(format!("{typed:?}")),
            typed: Some(typed.to_owned()),
            words,
        })
        .into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let key = key.to_owned();
        Trouble::Unknown { key, known }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Trouble::Missing { key }.into()
    }
}

/// A type that serde names, with its article.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or above",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "path string" => "a string",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other,
    }
    .to_owned()
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("one of {}", words.join(", "))
}

/// Reads a value, or some keys of a table.
#[derive(Clone, Copy)]
pub(crate) enum Reader<'a> {
    Value(&'a Data),
    /// The keys of a table that are among these; all others belong to other types.
    Keys(&'a Table, &'static [&'static str]),
}

impl<'a> Reader<'a> {
    pub(crate) fn of(table: &'a Table, keys: &'static [&'static str]) -> Self {
        Self::Keys(table, keys)
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Keys(table, keys) => visitor.visit_map(Entries::new(table, Some(keys))),
            Self::Value(Data::Text(text)) => visitor.visit_borrowed_str(text),
            Self::Value(Data::Integer(number)) => visitor.visit_i64(*number),
            Self::Value(Data::Number(number)) => visitor.visit_f64(*number),
            Self::Value(Data::Boolean(truth)) => visitor.visit_bool(*truth),
            Self::Value(Data::List(items)) => visitor.visit_seq(Items(items.iter())),
            Self::Value(Data::Table(table)) => visitor.visit_map(Entries::new(table, None)),
            Self::Value(Data::Date(date)) => {
                Err(Fault::invalid_type(Unexpected::Other(date), &visitor))
            }
        }
    }

    /// TOML has no null: a key that is present has a value.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Self::Value(Data::Text(text)) => visitor.visit_enum(OneWord(text)),
            _ => Err(Trouble::wrong(one_of(words)).into()),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Self::Value(Data::Table(table)) => {
                let mut keys = table.entries.iter().map(|entry| entry.key.as_str());
                match keys.find(|key| !known.contains(key)) {
                    Some(key) => Err(Fault::unknown_field(key, known)),
                    None => self.deserialize_any(visitor),
                }
            }
            Self::Keys(..) => self.deserialize_any(visitor),
            Self::Value(_) => Err(Trouble::wrong("a table".to_owned()).into()),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Data>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let item = self.0.next();
        item.map(|item| {
            seed.deserialize(Reader::Value(item))
                .map_err(|fault| fault.in_list(item))
        })
        .transpose()
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    keys: Option<&'static [&'static str]>,
    /// The entry whose value comes next.
    current: Option<&'a Entry>,
}

impl<'a> Entries<'a> {
    fn new(table: &'a Table, keys: Option<&'static [&'static str]>) -> Self {
        Self {
            rest: table.entries.iter(),
            keys,
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let keys = self.keys;
        let is_read = |entry: &&Entry| keys.is_none_or(|keys| keys.contains(&entry.key.as_str()));
        self.current = self.rest.find(is_read);
        let key = self.current.map(|entry| StrDeserializer::new(&entry.key));
        key.map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self
            .current
            .take()
            .expect("serde asks for a key before its value");
        seed.deserialize(Reader::Value(&entry.value.data))
            .map_err(|fault| fault.under(entry))
    }
}

/// A word of an enum.
struct OneWord<'a>(&'a str);

impl<'de> EnumAccess<'de> for OneWord<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let word: StrDeserializer<'de, Fault> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for OneWord<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Fault> {
        Err(Fault::custom("is a word that needs no value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(Fault::custom("is a word that needs no value"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        Err(Fault::custom("is a word that needs no value"))
    }
}
