//! What a file, with its overrides, says otherwise than the preset that it extends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tree::{Data, Table, plain};

/// A preset, and the keys that were laid over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverPreset {
    /// What `extends` says.
    pub file: String,
    /// Each dotted key whose value the preset does not have.
    pub changed: BTreeMap<String, Changed>,
}

/// A value laid over a preset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The value, as text.
    pub value: String,
    /// That of the preset; none where it does not set the key.
    pub preset: Option<String>,
}

/// The leaves of `table` that `preset` does not have so.
pub(crate) fn changed(table: &Table, preset: &Table) -> BTreeMap<String, Changed> {
    let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
    leaves("", table, &mut here);
    leaves("", preset, &mut there);
    here.into_iter()
        .filter_map(|(key, value)| {
            let preset = there.remove(&key);
            let is_changed = preset.as_ref() != Some(&value);
            is_changed.then_some((key, Changed { value, preset }))
        })
        .collect()
}

fn leaves(above: &str, table: &Table, found: &mut BTreeMap<String, String>) {
    for entry in &table.entries {
        let key = match above {
            "" => entry.key.clone(),
            above => format!("{above}.{}", entry.key),
        };
        match &entry.value.data {
            Data::Table(table) => leaves(&key, table, found),
            data => {
                found.insert(key, plain(data));
            }
        }
    }
}
