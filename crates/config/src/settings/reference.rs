//! A data set to the statistics of its features.

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::value::choice;

pub(crate) const KEYS: &[&str] = &["extractor", "batch_size"];

/// Settings of a stage that measures a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceSettings {
    /// The network whose features are compared.
    pub extractor: Extractor,
    /// Images at once. It is part of the result: float32 features depend on it in their last
    /// digits, so that every stage that compares with this reference uses the same.
    pub batch_size: u32,
}

choice! {
    /// A network whose features are compared.
    pub enum Extractor {
        /// EfficientNet-Lite0 with its ImageNet weights, which ship with the program.
        EfficientnetLite0 = "efficientnet-lite0",
    }
}

impl ReferenceSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        if section.optional::<String>("extractor")?.as_deref() == Some("inception-v3") {
            let problem = "`inception-v3` is not supported yet; use `efficientnet-lite0`";
            return Err(section.invalid("extractor", problem));
        }
        Ok(Self {
            extractor: section.or("extractor", Extractor::EfficientnetLite0)?,
            batch_size: section.integer("batch_size", Some(50), 1..=65_536)?,
        })
    }
}
