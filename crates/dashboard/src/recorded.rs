//! What is recorded of a run's pipeline: settings, what stages need, what was laid over the preset.

use std::collections::BTreeMap;

use patchwork_registry::RunDetail;
use serde::Deserialize;
use serde_json::Value;

/// What a pipeline, with the command line, says otherwise than the preset that it extends.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct OverPreset {
    /// What its `extends` says.
    pub(crate) file: String,
    /// By dotted key.
    pub(crate) changed: BTreeMap<String, Changed>,
}

/// A value that the preset does not have so.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Changed {
    /// The pipeline's value.
    pub(crate) value: String,
    /// The preset's; none where it does not set the key.
    pub(crate) preset: Option<String>,
}

/// A setting of a stage, as text.
pub(crate) fn setting<'a>(run: &'a RunDetail, stage: &str, name: &str) -> Option<&'a str> {
    let key = format!("stages.{stage}.{name}");
    let found = run.params.iter().find(|(known, _)| *known == key);
    found.map(|(_, value)| value.as_str())
}

/// The resolved pipeline.
fn definition(run: &RunDetail) -> Value {
    serde_json::from_str(&run.circumstances.definition).unwrap_or_default()
}

/// The names of the stages that each stage needs.
pub(crate) fn needs(run: &RunDetail) -> BTreeMap<String, Vec<String>> {
    let definition = definition(run);
    let stages = definition["stages"].as_array().into_iter().flatten();
    stages
        .filter_map(|stage| {
            let needs = stage["needs"].as_array().into_iter().flatten();
            let needs = needs
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect();
            Some((stage["name"].as_str()?.to_owned(), needs))
        })
        .collect()
}

/// What was laid over the preset; none where the pipeline extends none, and in a run of a version that did not record it.
pub(crate) fn over_preset(run: &RunDetail) -> Option<OverPreset> {
    serde_json::from_value(definition(run)["over_preset"].take()).ok()
}
