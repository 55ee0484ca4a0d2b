//! A network to images.

use std::path::PathBuf;

use patchwork_terms::{Export, SampleLabels};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SampleSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::kinds::Described;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::precision::resolved_precision;
use crate::specify::SpecifyError;

/// The job of a sample stage.
pub type SampleJob = TypedJob<SampleSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The files of another autoencoder than the one that encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_files: Option<PathBuf>,
}

pub(super) fn describe(
    settings: &SampleSettings,
    stage: &Stage,
    outside: &mut Outside<'_>,
) -> Result<Described, SpecifyError> {
    let named = settings.autoencoder.as_deref();
    let decoder = match named {
        Some(named) => outside.autoencoder(named)?,
        None => None,
    };
    let covered = SampleSettings {
        autoencoder: decoder.map(|digest| digest.to_string()),
        precision: resolved_precision(settings.precision, stage)?,
        ..settings.clone()
    };
    let places = Places {
        decoder_files: named.map(|named| outside.autoencoder_place(named)),
    };
    let job = SampleJob::new(
        stage,
        covered,
        Nothing {},
        places,
        environment::of_device(stage),
    );
    Ok(Described::new(job.parts(), format_version(settings)))
}

fn format_version(settings: &SampleSettings) -> u32 {
    // PNG files of images that are sampled without a class lie in no folder of their own.
    let has_no_class = settings.labels == SampleLabels::None && settings.classes.is_empty();
    if settings.export == Export::Folder && has_no_class {
        return 6;
    }
    // No image depends on the number sampled beside it; the networks' sums are made in another order, twice so far;
    // below float32, normalisation and the first convolution keep their weights.
    5
}
