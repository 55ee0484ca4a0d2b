//! Any folder or archive of images: classes by the first folder, or by `dataset.json`.

use serde::Deserialize;
use serde_json::Value;

use super::files::{Member, Selection, UNLABELLED};
use super::store::{DATASET_JSON, Store};

/// Labels each file by the first folder of its path.
pub(super) fn by_folder(store: &dyn Store) -> Result<Selection, String> {
    let class = |file: usize| store.name(file).split_once('/').map(|(class, _)| class);
    if let Some(file) = (0..store.len()).find(|file| class(*file).is_none()) {
        return Err(format!("`{}` lies in no class folder", store.name(file)));
    }
    let files = (0..store.len()).map(|file| (file, class(file).unwrap_or_default()));
    Ok(Selection::by_name(files))
}

/// Labels each file by what the store itself knows: its `dataset.json`, or a column of labels.
pub(super) fn by_store(store: &dyn Store) -> Result<Selection, String> {
    if let Some(class_names) = store.class_names() {
        let members = (0..store.len())
            .map(|file| Member {
                file: file as u32,
                label: store.label(file).map_or(UNLABELLED, |label| label as i32),
            })
            .collect();
        return Ok(Selection {
            members,
            class_names,
        });
    }
    let json = store
        .dataset_json()
        .ok_or_else(|| format!("there is no `{DATASET_JSON}` and no other record of labels"))?;
    by_json(store, json)
}

#[derive(Deserialize)]
struct DatasetJson {
    labels: Option<Value>,
}

/// The labels of `dataset.json`: `{"labels": [["a.png", 3], ...]}`, or a table from names to numbers.
///
/// Files that it does not name have no class. The classes' names are their numbers.
fn by_json(store: &dyn Store, json: &[u8]) -> Result<Selection, String> {
    let wrong = |problem: &str| format!("its `{DATASET_JSON}` {problem}");
    let parsed: DatasetJson =
        serde_json::from_slice(json).map_err(|error| wrong(&format!("is damaged: {error}")))?;
    let labels: Vec<(String, Value)> = match parsed.labels {
        Some(Value::Object(labels)) => labels.into_iter().collect(),
        Some(list @ Value::Array(_)) => serde_json::from_value(list)
            .map_err(|error| wrong(&format!("has labels that are no pairs: {error}")))?,
        _ => return Err(wrong("holds no labels")),
    };
    let mut classes = std::collections::HashMap::with_capacity(labels.len());
    let mut most = UNLABELLED;
    for (name, label) in labels {
        let class = label
            .as_u64()
            .and_then(|class| i32::try_from(class).ok())
            .filter(|class| *class < 1 << 20);
        let Some(class) = class else {
            return Err(wrong(&format!(
                "gives `{name}` the label {label}, no class number"
            )));
        };
        most = i32::max(most, class);
        classes.insert(name.replace('\\', "/"), class);
    }
    let members = (0..store.len())
        .map(|file| Member {
            file: file as u32,
            label: classes.get(store.name(file)).copied().unwrap_or(UNLABELLED),
        })
        .collect();
    Ok(Selection {
        members,
        class_names: (0..=most).map(|class| class.to_string()).collect(),
    })
}
