//! What can go wrong between a checked pipeline and its finished run.

use patchwork_core::FileError;
use patchwork_registry::RegistryError;

use crate::plan::Plan;

/// An error of the supervisor itself; a failed stage is a result, not an error.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A stage is named that the pipeline does not have.
    #[error("there is no stage `{stage}`; the pipeline has {}", known.join(", "))]
    UnknownStage {
        /// The name.
        stage: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Stages need each other.
    #[error("stages need each other: {} → {}", stages.join(" → "), stages.first().map_or("", String::as_str))]
    Cycle {
        /// The names along the way.
        stages: Vec<String>,
    },
    /// A stage is to run alone and an input of it is not there.
    #[error(
        "stage `{stage}` alone was asked for, and its input `{input}` is not finished; run `--until {stage}` instead"
    )]
    InputMissing {
        /// The stage that was asked for.
        stage: String,
        /// The stage that makes the input.
        input: String,
    },
    /// Inputs of stages that are to run are missing.
    #[error("{problems}")]
    MissingInputs {
        /// Each stage, what is missing, and what puts it there.
        problems: String,
        /// What would be done if it were there.
        plan: Plan,
    },
    /// An external artifact is missing.
    #[error("the artifact of `{stage}` is missing from `{}`", folder.display())]
    ExternalMissing {
        /// The stage.
        stage: String,
        /// Where it was put.
        folder: std::path::PathBuf,
    },
    /// Finished work cannot be renamed to its place.
    #[error(
        "`{}` and `{}` are on different disks: a finished stage could not be published",
        folder.display(),
        work.display()
    )]
    OtherDisk {
        /// Where the artifacts of a stage are to lie.
        folder: std::path::PathBuf,
        /// Where stages work.
        work: std::path::PathBuf,
    },
    /// A stage wants more memory than there is.
    #[error(
        "stage `{stage}` asks for `memory_gib` = {wanted_gib:.1}, and this machine has {available_gib:.1} GiB; lower \
         it if the stage needs less, or use another machine"
    )]
    TooLittleMemory {
        /// The stage.
        stage: String,
        /// What it wants.
        wanted_gib: f64,
        /// What there is.
        available_gib: f64,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A worker process could not be started.
    #[error("cannot start a worker process for stage `{stage}`: {source}")]
    Spawn {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be caught.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
}
