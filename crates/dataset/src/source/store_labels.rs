//! Labels by what a folder or an archive itself records: its `dataset.json`, or a column of labels.

use std::collections::HashMap;

use serde_json::Value;

use super::files::{Member, Selection, UNLABELLED};
use super::store::{DATASET_JSON, Json, MOST_CLASSES, Store};

/// Labels each image by what the store itself knows: its `dataset.json`, or a column of labels.
pub(super) fn select(store: &dyn Store) -> Result<Selection, String> {
    if let Some(known) = store.labels()? {
        let members = (known.labels.iter().zip(0..))
            .map(|(label, file)| Member {
                file,
                label: *label,
            })
            .collect();
        return Ok(Selection {
            members,
            class_names: known.class_names,
            classes_by: Some(known.by),
            reads_more: known.reads_more,
            ..Selection::default()
        });
    }
    let json = store.dataset_json().ok_or_else(|| {
        format!(
            "there is no `{DATASET_JSON}`, at the top or in the one folder there, and no other record of labels"
        )
    })?;
    by_json(store, json)
}

/// The labels of `dataset.json`: `{"labels": [["a.png", 3], ...]}`, a table from names to numbers, or either alone.
///
/// Names are relative to the folder of `dataset.json`. Files that it does not name have no class. The classes' names are
/// their numbers.
fn by_json(store: &dyn Store, json: &Json) -> Result<Selection, String> {
    let wrong = |problem: &str| format!("its `{}{DATASET_JSON}` {problem}", json.folder);
    let parsed: Value = serde_json::from_slice(&json.content)
        .map_err(|error| wrong(&format!("is damaged: {error}")))?;
    let bare = parsed.is_array();
    let labels = match parsed {
        list @ Value::Array(_) => list,
        Value::Object(mut object) => object.remove("labels").unwrap_or_default(),
        _ => Value::Null,
    };
    let labels: Vec<(String, Value)> = match labels {
        Value::Object(labels) => labels.into_iter().collect(),
        list @ Value::Array(_) => serde_json::from_value(list)
            .map_err(|error| wrong(&format!("has labels that are not pairs: {error}")))?,
        _ => return Err(wrong("holds no labels")),
    };
    let mut classes: HashMap<String, i32> = HashMap::with_capacity(labels.len());
    let mut most = UNLABELLED;
    for (name, label) in labels {
        let class = label
            .as_i64()
            .filter(|class| (0..MOST_CLASSES).contains(class));
        let Some(class) = class else {
            return Err(wrong(&format!(
                "gives `{name}` the label {label}, no class number below {MOST_CLASSES}"
            )));
        };
        let class = class as i32;
        most = i32::max(most, class);
        let plain = name.replace('\\', "/");
        let plain = plain.strip_prefix("./").unwrap_or(&plain);
        let key = format!("{}{plain}", json.folder);
        if let Some(other) = classes.insert(key, class)
            && other != class
        {
            return Err(wrong(&format!(
                "gives `{name}` the labels {other} and {class}"
            )));
        }
    }
    let mut named = 0;
    let members: Vec<Member> = (0..store.len())
        .map(|file| {
            let label = classes.get(store.name(file)).copied();
            named += usize::from(label.is_some());
            Member {
                file: file as u32,
                label: label.unwrap_or(UNLABELLED),
            }
        })
        .collect();
    let mut warnings = Vec::new();
    if named < classes.len() {
        warnings.push(format!(
            "{} of the {} names in `{}{DATASET_JSON}` match no image",
            classes.len() - named,
            classes.len(),
            json.folder
        ));
    }
    Ok(Selection {
        members,
        class_names: (0..=most).map(|class| class.to_string()).collect(),
        classes_by: Some(format!("`{}{DATASET_JSON}`", json.folder)),
        reads_more: bare || !json.folder.is_empty(),
        warnings,
        ..Selection::default()
    })
}
