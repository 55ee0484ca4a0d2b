//! Classes, as they are typed: `"cat"`, `3`, `["cat", "dog"]`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserializer;
use serde::de::{self, SeqAccess, Visitor};

/// A class by name or number, or a list of them.
pub(super) struct Typed;

impl JsonSchema for Typed {
    fn schema_name() -> Cow<'static, str> {
        "Classes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let class =
            json_schema!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]});
        json_schema!({"anyOf": [class.clone(), {"type": "array", "items": class}]})
    }
}

/// Reads classes as they are typed, or the list of names that is recorded.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Classes)
}

struct Classes;

impl<'de> Visitor<'de> for Classes {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a class by name or number, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        match number {
            0.. => Ok(vec![number.to_string()]),
            _ => Err(E::custom(format!(
                "is {number}; classes are numbered from 0"
            ))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut classes = Vec::new();
        while let Some(class) = items.next_element_seed(One)? {
            classes.push(class);
        }
        Ok(classes)
    }
}

/// One class of a list.
struct One;

impl<'de> de::DeserializeSeed<'de> for One {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let mut classes = deserializer.deserialize_any(Classes)?;
        match (classes.pop(), classes.is_empty()) {
            (Some(class), true) => Ok(class),
            _ => Err(de::Error::custom("has a list among its classes")),
        }
    }
}
