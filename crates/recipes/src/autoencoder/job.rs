//! A data set to an autoencoder.

use patchwork_config::schema::{Shape, shape};
use serde::{Deserialize, Serialize};

use super::AutoencoderSettings;
use crate::environment;
use crate::error::SpecifyError;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

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
    fn places() -> &'static Shape {
        shape::<Nothing>()
    }

    fn describe(
        &self,
        stage: &Stage,
        seed: u64,
        _: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let environment = environment::of_training(stage);
        let resolved = Resolved { seed };
        let job = AutoencoderJob::new(stage, self.clone(), resolved, Nothing {}, environment);
        Ok(Described::new(job.parts(), FORMAT_VERSION))
    }
}
