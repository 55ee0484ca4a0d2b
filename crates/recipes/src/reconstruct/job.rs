//! Latents to the distance of what their decoder makes of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReconstructSettings;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::recipe::{Describe, Describing, Description};

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
    type Resolved = Nothing;
    type Places = Places;

    fn format_version(&self) -> u32 {
        FORMAT_VERSION
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let decoder = outside.autoencoder(self.autoencoder.as_deref())?;
        let settings = Self {
            autoencoder: decoder.digest,
            ..self.clone()
        };
        let places = Places {
            weights: outside.weights_folder(),
            decoder_files: decoder.place,
        };
        Ok(Description::of(settings, places))
    }
}
