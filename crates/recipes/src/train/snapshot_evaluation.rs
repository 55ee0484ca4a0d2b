//! A cheap distance at each snapshot of training.

use std::collections::BTreeMap;

use patchwork_config::{ConfigError, Section};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use crate::reference::{ExtractorChoice, ReferenceSettings};

/// How training evaluates its snapshots: the distance between a few samples and the training images.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotEvaluationSettings {
    /// Images sampled from each snapshot, always of the same seeds, from 0.
    #[default = 2048]
    #[schemars(range(min = 2, max = 1_000_000))]
    pub samples: u32,
    /// Noise levels of the deterministic sampler, which evaluates the network `2 * steps - 1` times.
    #[default = 10]
    #[schemars(range(min = 2, max = 10_000))]
    pub steps: u32,
    /// The network whose features are compared: `efficientnet-lite0` or `inception-v3`.
    #[default(ExtractorChoice::shipped())]
    pub extractor: ExtractorChoice,
    /// Maximum number of training images, evenly over the data set, that samples are compared with.
    #[default = 10_000]
    #[schemars(range(min = 2, max = 1_000_000))]
    pub reference_images: u32,
    /// Images at once, both in sampling and in evaluating. It is part of the result: float32 features depend on it in
    /// their last digits.
    #[default = 50]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: u32,
}

impl SnapshotEvaluationSettings {
    pub(super) fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        self.extractor = (self.extractor.clone())
            .settled(&BTreeMap::new())
            .map_err(|problem| section.invalid("extractor", problem))?;
        Ok(())
    }

    /// The settings of a reference stage that has the same extractor.
    pub fn reference(&self) -> ReferenceSettings {
        ReferenceSettings::of_extractor(self.extractor.clone(), self.batch_size)
    }
}
