//! A network to images.

use std::path::PathBuf;

use patchwork_terms::{Export, SampleLabels};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SampleSettings;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::precision::resolved_precision;
use crate::recipe::{Describe, Describing, Description};

/// The job of a sample stage.
pub type SampleJob = TypedJob<SampleSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The files of another autoencoder than the one that encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_files: Option<PathBuf>,
}

impl Describe for SampleSettings {
    type Resolved = Nothing;
    type Places = Places;

    fn format_version(&self) -> u32 {
        // PNG files of images that are sampled without a class lie in no folder of their own.
        let has_no_class = self.labels == SampleLabels::None && self.classes.is_empty();
        if self.export == Export::Folder && has_no_class {
            return 6;
        }
        // No image depends on the number sampled beside it; the networks' sums are made in another order, twice so far;
        // below float32, normalisation and the first convolution keep their weights.
        5
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let decoder = outside.autoencoder(self.autoencoder.as_deref())?;
        let settings = Self {
            autoencoder: decoder.digest,
            precision: resolved_precision(self.precision, outside.stage)?,
            ..self.clone()
        };
        let places = Places {
            decoder_files: decoder.place,
        };
        Ok(Description::of(settings, places))
    }
}
