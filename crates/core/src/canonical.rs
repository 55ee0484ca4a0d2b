//! One text for each JSON value, so that equal settings have equal fingerprints.

use serde_json::Value;

/// Writes a JSON value with sorted keys and no spaces.
///
/// Numbers keep serde_json's shortest form that reads back to the same value, so `1` and `1.0` differ:
/// resolved settings give each key one type.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (position, key) in keys.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_value(&fields[key], text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical_json;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value = json!({"b": [1, {"z": null, "a": "x\"y"}], "a": 0.5});
        assert_eq!(
            canonical_json(&value),
            r#"{"a":0.5,"b":[1,{"a":"x\"y","z":null}]}"#
        );
    }
}
