//! A data set to the statistics of its features.

use std::path::PathBuf;

use patchwork_core::Digest;
use patchwork_terms::Resize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReferenceSettings;
use crate::job::TypedJob;
use crate::outside::Outside;
use crate::recipe::{Describe, Describing, Description};

/// The job of a reference stage.
pub type ReferenceJob = TypedJob<ReferenceSettings, Resolved, Places>;

/// What is resolved from the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The digest of each extractor's weights; none for weights that are missing and unknown, without which no worker
    /// is started.
    pub extractor_weights: Vec<Option<Digest>>,
}

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
    /// Statistics that were computed by another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<PathBuf>,
}

impl Describe for ReferenceSettings {
    type Resolved = Resolved;
    type Places = Places;

    fn format_version(&self) -> u32 {
        // For `inception-v3/torch`, NVIDIA's program is given pixels that come out normalised as pytorch-fid does.
        let is_torch = (self.extractor.iter()).any(|choice| choice.resize == Some(Resize::Torch));
        if is_torch { 3 } else { 2 }
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let resolved = Resolved {
            extractor_weights: outside.weights(self)?,
        };
        let source = match &self.statistics {
            Some(statistics) => outside.statistics(statistics)?,
            None => None,
        };
        Ok(Description {
            settings: Self {
                statistics: None,
                ..self.clone()
            },
            resolved,
            places: Places {
                weights: outside.weights_folder(),
                statistics: self.statistics.clone(),
            },
            source,
        })
    }
}
