//! Nested settings as a list of dotted keys.

use serde_json::Value;

/// Appends every leaf below a value as (dotted key, text); nulls are left out, lists stay whole.
pub(crate) fn flatten(key: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&key, value, leaves);
            }
        }
        Value::Null => {}
        Value::String(text) => leaves.push((key.to_owned(), text.clone())),
        other => leaves.push((key.to_owned(), other.to_string())),
    }
}
