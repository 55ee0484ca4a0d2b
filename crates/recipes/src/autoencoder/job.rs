//! A data set to an autoencoder.

use serde::{Deserialize, Serialize};

use patchwork_artifacts::Environment;

use super::AutoencoderSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::kinds::Described;
use crate::pipeline::Stage;

const FORMAT_VERSION: u32 = 1;

/// What a worker that trains an autoencoder is told.
pub type AutoencoderJob = TypedJob<AutoencoderSettings, Resolved>;

/// What is resolved from the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The root of all randomness.
    pub seed: u64,
}

pub(super) fn describe(settings: &AutoencoderSettings, stage: &Stage, seed: u64) -> Described {
    let environment = match stage.execution.device.as_str() {
        "cpu" => Environment::of_training_on_cpu(),
        _ => environment::of_device(stage),
    };
    let resolved = Resolved { seed };
    let job = AutoencoderJob::new(stage, settings.clone(), resolved, Nothing {}, environment);
    Described::new(job.parts(), FORMAT_VERSION)
}
