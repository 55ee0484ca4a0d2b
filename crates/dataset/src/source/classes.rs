//! The classes of a source: how many images each has, and which are kept.

use std::collections::BTreeMap;

use super::raw::Source;
use super::settings::SourceSettings;
use crate::error::DatasetError;

/// How many images of a source are of each class.
pub fn class_counts(source: &dyn Source) -> Vec<u64> {
    let mut counts = vec![0; source.class_names().len()];
    for label in (0..source.len()).filter_map(|index| source.entry(index).label) {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}

/// The classes to keep.
pub(super) struct Chosen {
    /// By old number, the new one; none for those that are left out.
    pub(super) numbers: Vec<Option<u32>>,
    /// Their names, in the order of the data set.
    pub(super) names: Vec<String>,
}

/// The classes that the settings name; none if they name none, so that all are kept.
///
/// # Errors
/// If a class is not among the `known` ones, or if there are no classes.
pub(super) fn chosen(
    settings: &SourceSettings,
    known: &[String],
) -> Result<Option<Chosen>, DatasetError> {
    let Some(wanted) = &settings.classes else {
        return Ok(None);
    };
    if known.is_empty() {
        return Err(DatasetError::Setting {
            setting: "classes",
            value: format!("{wanted:?}"),
            problem: "without `labels` no image of this source has a class".to_owned(),
        });
    }
    if let Some(unknown) = wanted.iter().find(|class| !known.contains(class)) {
        let shown: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
        let otherwise = format!("the classes are {}", shown.join(", "));
        let names = known.iter().map(String::as_str);
        return Err(DatasetError::unknown_name(
            "class", unknown, names, &otherwise,
        ));
    }
    let kept: BTreeMap<usize, u32> = (0..known.len())
        .filter(|class| wanted.contains(&known[*class]))
        .zip(0..)
        .collect();
    let numbers = (0..known.len()).map(|class| kept.get(&class).copied());
    let names = kept.keys().map(|class| known[*class].clone()).collect();
    Ok(Some(Chosen {
        numbers: numbers.collect(),
        names,
    }))
}
