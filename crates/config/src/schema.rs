//! What the schema of a type says of its keys: in which order they stand, which must be there, in what range they lie.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

/// The keyword by which a key's schema names the unit of its values, in the plural, where its name does not.
pub const UNIT: &str = "x-unit";

/// A type that is read from a table.
pub struct Shape {
    /// The keys, in the order of the type's fields.
    pub keys: &'static [&'static str],
    /// Its JSON Schema, in which types stand where they are used and no value is null.
    pub schema: Value,
}

/// The shape of a type, which is made once.
pub fn shape<T: DeserializeOwned + JsonSchema + 'static>() -> &'static Shape {
    static SHAPES: LazyLock<Mutex<HashMap<TypeId, &'static Shape>>> = LazyLock::new(Mutex::default);
    let mut shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    shapes.entry(TypeId::of::<T>()).or_insert_with(|| {
        Box::leak(Box::new(Shape {
            keys: fields::<T>(),
            schema: schema::<T>(),
        }))
    })
}

impl Shape {
    /// Whether a key must be typed.
    pub fn requires(&self, key: &str) -> bool {
        requires(&self.schema, key)
    }

    /// The schema of a key.
    pub fn key(&self, key: &str) -> Option<&Value> {
        property(&self.schema, key)
    }
}

/// Whether a table of that schema must have a key.
pub fn requires(schema: &Value, key: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|required| required == key))
}

pub(crate) fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(key)
}

/// The JSON Schema of a type, in which types stand where they are used and no value is null, since TOML has none.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    without_null(&mut schema);
    schema.remove("title");
    schema.to_value()
}

fn without_null(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        drop_null(object);
    }
}

fn drop_null(object: &mut Map<String, Value>) {
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = &choices[..] {
            let mut only = only.clone();
            object.remove("anyOf");
            // What is said of the key goes before what is said of its type.
            only.extend(std::mem::take(object));
            *object = only;
        }
    }
    drop_required_defaults(object);
    for value in object.values_mut() {
        drop_null_below(value);
    }
}

/// What must be typed has no default, whatever the type's own is.
fn drop_required_defaults(object: &mut Map<String, Value>) {
    let Some(Value::Array(required)) = object.get("required").cloned() else {
        return;
    };
    let Some(Value::Object(properties)) = object.get_mut("properties") else {
        return;
    };
    for key in required.iter().filter_map(Value::as_str) {
        if let Some(Value::Object(property)) = properties.get_mut(key) {
            property.remove("default");
        }
    }
}

fn drop_null_below(value: &mut Value) {
    match value {
        Value::Object(object) => drop_null(object),
        Value::Array(items) => items.iter_mut().for_each(drop_null_below),
        _ => {}
    }
}

/// The type of a schema's values for people, with its article: "a whole number".
pub fn type_in_words(schema: &Value) -> String {
    if let Some(words) = words(schema) {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        return format!("one of {}", words.join(", "));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => "a whole number".to_owned(),
        Some("number") => "a number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("string") => "a string".to_owned(),
        Some("array") => match schema.get("items") {
            Some(items) => format!("a list, each item {}", type_in_words(items)),
            None => "a list".to_owned(),
        },
        Some("object") => "a table".to_owned(),
        _ => match schema.get("anyOf").and_then(Value::as_array) {
            Some(choices) => {
                let choices: Vec<String> = choices.iter().map(type_in_words).collect();
                choices.join(", or ")
            }
            None => "a value".to_owned(),
        },
    }
}

/// The words of a choice, each with its documentation.
pub fn words(schema: &Value) -> Option<Vec<(&str, &str)>> {
    let choices = schema.get("oneOf")?.as_array()?;
    let word = |choice: &'_ Value| choice.get("const").is_some_and(Value::is_string);
    if !choices.iter().all(word) {
        return None;
    }
    let words = choices.iter().filter_map(|choice| {
        let meaning = choice.get("description").and_then(Value::as_str);
        Some((choice.get("const")?.as_str()?, meaning.unwrap_or_default()))
    });
    Some(words.collect())
}

/// The range of a schema's numbers for people, such as "1 to 4096"; none where every number is allowed.
pub fn range_in_words(schema: &Value) -> Option<String> {
    let bound = |key: &str| schema.get(key).map(number_in_words);
    match (
        bound("minimum"),
        bound("maximum"),
        bound("exclusiveMinimum"),
    ) {
        (Some(low), Some(high), _) => Some(format!("{low} to {high}")),
        (None, Some(high), Some(low)) => Some(format!("above {low}, up to {high}")),
        (None, None, Some(low)) => Some(format!("above {low}")),
        (Some(low), None, _) => Some(format!("{low} or above")),
        _ => None,
    }
}

/// A number as people write it: `1e9` rather than all its zeros, where it is not a count.
pub(crate) fn number_in_words(number: &Value) -> String {
    match number.as_f64() {
        Some(real) if number.is_f64() && real.abs() >= 1e6 => format!("{real:e}"),
        Some(real) if number.is_f64() => real.to_string(),
        _ => number.to_string(),
    }
}

/// The fields of a struct, as serde knows them, in their order.
pub fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It fails at once, after the type has said which fields it has.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only the fields are asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
