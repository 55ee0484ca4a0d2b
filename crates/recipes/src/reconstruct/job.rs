//! Latents to the distance of what their decoder makes of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReconstructSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::kinds::Described;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::specify::SpecifyError;

const FORMAT_VERSION: u32 = 1;

/// What a worker that reconstructs is told.
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

pub(super) fn describe(
    settings: &ReconstructSettings,
    stage: &Stage,
    outside: &mut Outside<'_>,
) -> Result<Described, SpecifyError> {
    let named = settings.autoencoder.as_deref();
    let decoder = match named {
        Some(named) => outside.autoencoder(named)?,
        None => None,
    };
    let covered = ReconstructSettings {
        autoencoder: decoder.map(|digest| digest.to_string()),
        ..settings.clone()
    };
    let places = Places {
        weights: outside.weights_folder(),
        decoder_files: named.map(|named| outside.autoencoder_place(named)),
    };
    let environment = environment::of_device(stage);
    let job = ReconstructJob::new(stage, covered, Nothing {}, places, environment);
    Ok(Described::new(job.parts(), FORMAT_VERSION))
}
