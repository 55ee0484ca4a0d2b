//! What keeps a pipeline from being planned.

use patchwork_core::FileError;

use crate::train::start::ExternalNetwork;

/// What keeps a pipeline from being planned.
#[derive(Debug, thiserror::Error)]
pub enum SpecifyError {
    /// A stage's raw data cannot be read.
    #[error("stage `{stage}`: {source}")]
    Source {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: Box<patchwork_dataset::DatasetError>,
    },
    /// The network that a training starts from has to be converted first.
    #[error("stage `{stage}`: `init_from`: {source}")]
    Network {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: ExternalNetwork,
    },
    /// A file of another program, a network or statistics, cannot be read.
    #[error("stage `{stage}`: {problem}")]
    File {
        /// The stage.
        stage: String,
        /// Which setting names it, and what is wrong.
        problem: String,
        /// The cause.
        #[source]
        source: Box<FileError>,
    },
    /// A stage's weights are present, and cannot be used.
    #[error("stage `{stage}`: {source}")]
    Weights {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: Box<patchwork_weights::WeightsError>,
    },
    /// What was read cannot be remembered.
    #[error(transparent)]
    Remember(#[from] FileError),
    /// A snapshot that no training makes.
    #[error(
        "stage `{stage}`: `at_images` is {images}, but training resumes by `resume_from` from {seen} images, and has \
         no snapshots before; sample those of the training that the checkpoint is of"
    )]
    EarlierSnapshot {
        /// The stage that samples.
        stage: String,
        /// The snapshot's images.
        images: u64,
        /// The checkpoint's images.
        seen: u64,
    },
    /// A stage's device does not compute in its precision.
    #[error(
        "stage `{stage}`: `precision = \"float16\"` is for CUDA devices; on a CPU use `bfloat16`, `float32` or `auto`"
    )]
    Float16OnCpu {
        /// The stage.
        stage: String,
    },
}

impl SpecifyError {
    /// Whether another file or another setting would help.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Remember(_))
    }
}
