//! A cheap distance at each snapshot of training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::settings::reference::{ExtractorChoice, ReferenceSettings, choose};

pub(crate) const KEYS: &[&str] = &[
    "samples",
    "steps",
    "extractor",
    "reference_images",
    "batch_size",
];

/// How training measures its snapshots: the distance between a few samples and the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEvaluationSettings {
    /// Images that are drawn from each snapshot, always of the same seeds, from 0.
    pub samples: u32,
    /// Noise levels of the deterministic sampler, which evaluates the network `2 * steps - 1` times.
    pub steps: u32,
    /// The network whose features are compared.
    pub extractor: ExtractorChoice,
    /// At most so many training images, evenly over the data set, are what samples are compared with.
    pub reference_images: u32,
    /// Images at once, both in drawing and in measuring. It is part of the result: float32 features depend on it in
    /// their last digits.
    pub batch_size: u32,
}

impl SnapshotEvaluationSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let name = section.or("extractor", "efficientnet-lite0".to_owned())?;
        let extractor = choose(&name, &BTreeMap::new())
            .map_err(|problem| section.invalid("extractor", problem))?;
        Ok(Self {
            samples: section.integer("samples", Some(2048), 2..=1_000_000)?,
            steps: section.integer("steps", Some(10), 2..=10_000)?,
            extractor,
            reference_images: section.integer("reference_images", Some(10_000), 2..=1_000_000)?,
            batch_size: section.integer("batch_size", Some(50), 1..=65_536)?,
        })
    }

    /// The settings of a reference stage that has the same extractor.
    pub fn reference(&self) -> ReferenceSettings {
        ReferenceSettings {
            extractor: vec![self.extractor.clone()],
            torchscript: BTreeMap::new(),
            batch_size: self.batch_size,
            crops: Vec::new(),
            spatial: false,
            keep_features: 0,
            statistics: None,
            images: None,
        }
    }
}
