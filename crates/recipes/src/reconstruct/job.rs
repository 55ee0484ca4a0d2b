//! Latents to the distance of what their decoder makes of them.

use std::path::PathBuf;

use patchwork_config::schema::{Shape, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReconstructSettings;
use crate::environment;
use crate::error::SpecifyError;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

const FORMAT_VERSION: u32 = 1;

/// The job of a reconstruct stage.
pub type ReconstructJob = TypedJob<ReconstructSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
    /// The files of another autoencoder than the one that encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_files: Option<PathBuf>,
}

impl Describe for ReconstructSettings {
    fn places() -> &'static Shape {
        shape::<Places>()
    }

    fn describe(
        &self,
        stage: &Stage,
        _: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let decoder = outside.autoencoder(self.autoencoder.as_deref())?;
        let covered = Self {
            autoencoder: decoder.digest,
            ..self.clone()
        };
        let places = Places {
            weights: outside.weights_folder(),
            decoder_files: decoder.place,
        };
        let environment = environment::of_device(stage);
        let job = ReconstructJob::new(stage, covered, Nothing {}, places, environment);
        Ok(Described::new(job.parts(), FORMAT_VERSION))
    }
}
