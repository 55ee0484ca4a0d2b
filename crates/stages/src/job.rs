//! What a job reads, as the types that a stage works with.

use std::path::PathBuf;

use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::worker::StageError;
use patchwork_artifacts::{Manifest, Store};
use patchwork_terms::Kind;
use serde::de::DeserializeOwned;

/// A stage was given other inputs than its kind reads.
#[derive(Debug, thiserror::Error)]
#[error("stage `{stage}` needs the artifact of a {wanted} stage; list one in its `needs`")]
struct MissingInput {
    stage: String,
    wanted: Kind,
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

/// Whether an input is a set of images: a prepared data set, or samples.
pub(crate) fn are_images(input: &JobInput) -> bool {
    [Kind::Prepare, Kind::Sample]
        .iter()
        .any(|kind| kind.name() == input.input.kind)
}

/// The first input that is a set of images.
pub(crate) fn first_images(job: &Job) -> Result<&JobInput, StageError> {
    match job.inputs.iter().find(|input| are_images(input)) {
        Some(input) => Ok(input),
        None => input(job, Kind::Prepare),
    }
}

/// The reference's images are wanted, and are not among the artifacts.
#[derive(Debug, thiserror::Error)]
#[error(
    "stage `{stage}` looks for neighbours among the images of the reference `{reference}`, and they are not in this \
     home folder; set `neighbours` to 0, or prepare them here"
)]
struct NoImages {
    stage: String,
    reference: String,
}

/// The folder of the images that a reference was made of.
pub(crate) fn images_of_reference(job: &Job, reference: &JobInput) -> Result<PathBuf, StageError> {
    let store = Store::open(&job.home)?;
    let made_of = Manifest::read(&reference.folder)?.inputs;
    made_of
        .iter()
        .map(|input| store.artifact(&input.kind, input.fingerprint))
        .find(|folder| folder.is_dir())
        .ok_or_else(|| {
            StageError::from(NoImages {
                stage: job.stage.clone(),
                reference: reference.stage.clone(),
            })
        })
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
