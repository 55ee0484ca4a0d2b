//! Sampled images against reference statistics.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EvaluateSettings;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::recipe::{Describe, Describing, Description};

/// Samples of one network are distinguished by their settings.
const FORMAT_VERSION: u32 = 3;

/// The job of an evaluate stage.
pub type EvaluateJob = TypedJob<EvaluateSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
}

impl Describe for EvaluateSettings {
    type Resolved = Nothing;
    type Places = Places;

    fn format_version(&self) -> u32 {
        FORMAT_VERSION
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let places = Places {
            weights: outside.weights_folder(),
        };
        Ok(Description::of(self.clone(), places))
    }
}
