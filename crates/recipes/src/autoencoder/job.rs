//! A data set to an autoencoder.

use patchwork_artifacts::Environment;
use serde::{Deserialize, Serialize};

use super::AutoencoderSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Describing, Description};

const FORMAT_VERSION: u32 = 1;

/// The job of an autoencoder stage.
pub type AutoencoderJob = TypedJob<AutoencoderSettings, Resolved>;

/// What is resolved from the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The root of all randomness.
    pub seed: u64,
}

impl Describe for AutoencoderSettings {
    type Resolved = Resolved;
    type Places = Nothing;

    fn format_version(&self) -> u32 {
        FORMAT_VERSION
    }

    fn describe(&self, seed: u64, _: &mut Outside<'_>) -> Describing<Self> {
        Ok(Description {
            settings: self.clone(),
            resolved: Resolved { seed },
            places: Nothing {},
            source: None,
        })
    }

    fn environment(stage: &Stage) -> Environment {
        environment::of_training(stage)
    }
}
