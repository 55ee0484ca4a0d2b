//! Reading a job's data as the types that a stage works with.

use std::path::Path;

use patchwork_config::{Execution, Kind};
use patchwork_pipeline::Manifest;
use patchwork_pipeline::protocol::{Job, JobInput};
use patchwork_pipeline::worker::StageError;
use serde::de::DeserializeOwned;

/// A stage was given other inputs than its kind reads.
#[derive(Debug, thiserror::Error)]
#[error("stage `{stage}` needs the artifact of a {wanted} stage; list one in its `needs`")]
struct MissingInput {
    stage: String,
    wanted: Kind,
}

/// The settings that the fingerprint covers, as their type.
///
/// What the planner moved to the execution settings (paths) is put back.
pub(crate) fn settings<T: DeserializeOwned>(job: &Job) -> Result<T, serde_json::Error> {
    let mut settings = job.settings.clone();
    if let Some(settings) = settings.as_object_mut() {
        for path in ["source", "statistics"] {
            if let Some(value) = job.execution.get(path) {
                settings.insert(path.to_owned(), value.clone());
            }
        }
    }
    serde_json::from_value(settings)
}

/// The settings that it does not cover.
pub(crate) fn execution(job: &Job) -> Result<Execution, serde_json::Error> {
    serde_json::from_value(job.execution.clone())
}

/// The folder of the extractors' weights, which the planner found.
pub(crate) fn weights_folder(job: &Job) -> &Path {
    Path::new(
        job.execution
            .get("weights")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("weights"),
    )
}

/// The inputs of a kind, in the order of the stage's `needs`.
pub(crate) fn inputs(job: &Job, kind: Kind) -> impl Iterator<Item = &JobInput> {
    job.inputs
        .iter()
        .filter(move |input| input.input.kind == kind.name())
}

/// The first input of a kind.
pub(crate) fn input(job: &Job, kind: Kind) -> Result<&JobInput, StageError> {
    let missing = || MissingInput {
        stage: job.stage.clone(),
        wanted: kind,
    };
    inputs(job, kind)
        .next()
        .ok_or_else(missing)
        .map_err(StageError::from)
}

/// A field of an input's summary.
pub(crate) fn summary_of<T: DeserializeOwned>(
    input: &JobInput,
    field: &str,
) -> Result<T, StageError> {
    let manifest = Manifest::read(&input.folder)?;
    let value = manifest
        .outcome
        .summary
        .get(field)
        .cloned()
        .unwrap_or_default();
    Ok(serde_json::from_value(value)?)
}
