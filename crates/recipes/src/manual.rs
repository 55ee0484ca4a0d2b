//! The reference of all settings, and the JSON Schema of pipeline files by which editors complete them: both from the
//! types that settings are read as.

use std::fmt::Write;

use patchwork_config::schema::{
    Shape, UNIT, range_in_words, requires, shape, type_in_words, words,
};
use patchwork_terms::{Kind, Word};
use serde_json::{Map, Value, json};

use crate::execution::{Execution, ONLY_OF_KIND, is_listed};
use crate::load::{Common, Place, Title};
use crate::shape as shape_of_kind;

/// A table of settings: its place in a file, what it is, its keys with their schemas.
struct Listing {
    table: String,
    about: String,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    name: String,
    schema: Value,
    is_required: bool,
}

/// The JSON Schema of pipeline files and presets.
///
/// It requires no key: what a file leaves out may stand in the preset that it extends.
pub fn pipeline_schema() -> Value {
    let mut properties = properties(&[top()]);
    let extends = "The file that this one extends, relative to it: tables merge key by key, and this file wins.";
    let matrix = "One run for each combination of values: a dotted key in quotes, such as \
                  `\"stages.train.batch_size\"`, and \
                  the list of its values.";
    properties.insert(
        "extends".to_owned(),
        json!({"type": "string", "description": extends}),
    );
    properties.insert(
        "matrix".to_owned(),
        json!({"type": "object", "description": matrix, "additionalProperties": {"type": "array", "minItems": 1}}),
    );
    let reference = |kind: &Kind| json!({"$ref": format!("#/definitions/{kind}")});
    let named: Map<String, Value> = (Kind::ALL.iter())
        .map(|kind| (kind.name().to_owned(), reference(kind)))
        .collect();
    let definitions: Map<String, Value> = (Kind::ALL.iter())
        .map(|kind| (kind.name().to_owned(), stage_schema(*kind)))
        .collect();
    let by_kind: Vec<Value> = (Kind::ALL.iter())
        .map(|kind| {
            json!({
                "if": {"properties": {"kind": {"const": kind.name()}}},
                "then": reference(kind),
            })
        })
        .collect();
    properties.insert(
        "stages".to_owned(),
        json!({
            "type": "object",
            "description": "The stages, each a table.",
            "properties": named,
            "additionalProperties": {"type": "object", "required": ["kind"], "allOf": by_kind},
        }),
    );
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Pipeline of Patchwork",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": definitions,
    });
    drop_keywords(&mut schema);
    schema
}

fn stage_schema(kind: Kind) -> Value {
    json!({
        "type": "object",
        "description": kind.meaning(),
        "properties": properties(&[own(kind), place(), execution(Some(kind))]),
        "additionalProperties": false,
    })
}

fn properties(listings: &[Listing]) -> Map<String, Value> {
    let keys = listings.iter().flat_map(|listing| &listing.keys);
    keys.map(|key| (key.name.clone(), key.schema.clone()))
        .collect()
}

/// Takes out what only this program understands, and what would have a file say everything itself.
fn drop_keywords(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|keyword, _| !keyword.starts_with("x-"));
            if object.contains_key("properties") && object.get("required").is_some() {
                object.remove("required");
            }
            if object.contains_key("properties") && !object.contains_key("if") {
                object
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
            object.values_mut().for_each(drop_keywords);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_keywords),
        _ => {}
    }
}

/// The page that lists every setting of pipeline files, in Markdown.
pub fn settings_page() -> String {
    let mut page = "\
# Settings of pipeline files

Every key of a pipeline file or preset: its type, its default, its range, its meaning. `just settings` writes this page and
`schemas/pipeline.json` from the program's own types. A file may begin with `extends = \"preset.toml\"`, which extends
another file, and have a table `[matrix]`, by which each combination of values is a run. An editor that knows TOML schemas
completes keys and words in a file whose first line is `#:schema` and the path of that JSON file.
"
    .to_owned();
    let mut listings = vec![top()];
    for kind in Kind::ALL {
        listings.extend(with_tables_below(own(*kind)));
    }
    listings.extend([place(), execution(None)]);
    for listing in listings {
        write_listing(&mut page, &listing).expect("a string takes all text");
    }
    page
}

fn top() -> Listing {
    let keys = [keys_of(shape::<Title>()), keys_of(shape::<Common>())].concat();
    Listing {
        table: "Above all tables".to_owned(),
        about: "What the pipeline is called, and what holds for all its stages.".to_owned(),
        keys,
    }
}

fn own(kind: Kind) -> Listing {
    Listing {
        table: format!("`[stages.{kind}]`"),
        about: kind.meaning().to_owned(),
        keys: keys_of(shape_of_kind(kind)),
    }
}

fn place() -> Listing {
    Listing {
        table: "Every stage: kind and needs".to_owned(),
        about: "What a stage does, and which others it reads.".to_owned(),
        keys: keys_of(shape::<Place>()),
    }
}

/// How a stage is run, of some kind or of any.
fn execution(kind: Option<Kind>) -> Listing {
    let mut keys = keys_of(shape::<Execution>());
    keys.retain(|key| match (key.schema.get(ONLY_OF_KIND), kind) {
        (Some(only), Some(kind)) => is_listed(only, kind),
        _ => true,
    });
    Listing {
        table: "Every stage: how it is run".to_owned(),
        about: "None of these is part of a stage's fingerprint, but for `tf32`.".to_owned(),
        keys,
    }
}

fn keys_of(shape: &Shape) -> Vec<Key> {
    let key = |name: &&str| {
        Some(Key {
            name: (*name).to_owned(),
            schema: shape.key(name)?.clone(),
            is_required: shape.requires(name),
        })
    };
    shape.keys.iter().filter_map(key).collect()
}

/// A listing, and one for each table below it.
fn with_tables_below(listing: Listing) -> Vec<Listing> {
    let prefix = listing
        .table
        .trim_matches('`')
        .trim_end_matches(']')
        .to_owned();
    let below = listing.keys.iter().filter_map(|key| {
        let (schema, name) = (&key.schema, &key.name);
        let (inner, name) = match schema.get("properties") {
            Some(_) => (schema, format!("{prefix}.{name}]")),
            None => (
                schema.get("additionalProperties")?,
                format!("{prefix}.{name}.NAME]"),
            ),
        };
        let properties = inner.get("properties")?.as_object()?;
        let about = schema.get("description").and_then(Value::as_str);
        Some(Listing {
            table: format!("`{name}`"),
            about: about.unwrap_or_default().to_owned(),
            keys: (properties.iter())
                .map(|(key, schema)| Key {
                    name: key.clone(),
                    schema: schema.clone(),
                    is_required: requires(inner, key),
                })
                .collect(),
        })
    });
    let below: Vec<Listing> = below.collect();
    std::iter::once(listing).chain(below).collect()
}

fn write_listing(page: &mut String, listing: &Listing) -> std::fmt::Result {
    let Listing { table, about, keys } = listing;
    write!(
        page,
        "\n## {table}\n\n{about}\n\n| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n"
    )?;
    for Key {
        name,
        schema,
        is_required,
    } in keys
    {
        let kind = match words(schema) {
            Some(_) => "a word".to_owned(),
            None => match schema.get("items").and_then(words) {
                Some(_) => "a list of words".to_owned(),
                None => type_in_words(schema),
            },
        };
        let default = match schema.get("default") {
            _ if *is_required => "required".to_owned(),
            Some(default) => in_toml(default),
            None => String::new(),
        };
        let unit = schema.get(UNIT).and_then(Value::as_str);
        let numbers = schema.get("items").unwrap_or(schema);
        let range = range_in_words(numbers).map_or_else(String::new, |range| match unit {
            Some(unit) => format!("{range} {unit}"),
            None => range,
        });
        let mut meaning = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .replace('\n', " ");
        if let Some(kinds) = schema.get(ONLY_OF_KIND).and_then(Value::as_array) {
            let kinds: Vec<String> = (kinds.iter().filter_map(Value::as_str))
                .map(|kind| format!("`{kind}`"))
                .collect();
            meaning.insert_str(0, &format!("(Only {}.) ", kinds.join(", ")));
        }
        let choices = words(schema).or_else(|| words(schema.get("items")?));
        for (word, about) in choices.into_iter().flatten() {
            write!(meaning, "<br>`{word}`: {}", about.replace('\n', " "))?;
        }
        let cells = [kind, default, range, meaning].map(|cell| cell.replace('|', "\\|"));
        writeln!(page, "| `{name}` | {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// A default as it would be typed; nothing for a table, whose keys have their own.
fn in_toml(value: &Value) -> String {
    match value {
        Value::Object(_) => String::new(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => format!("`{real}`"),
            _ => format!("`{number}`"),
        },
        other => format!("`{other}`"),
    }
}
