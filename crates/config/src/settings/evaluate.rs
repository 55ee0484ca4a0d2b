//! Sampled images against reference statistics.

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::value::choice;

pub(crate) const KEYS: &[&str] = &["baselines"];

/// Settings of a stage that evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateSettings {
    /// Further distances that put the samples' own in proportion, without repetition.
    pub baselines: Vec<Baseline>,
}

choice! {
    /// A distance that the samples' own is compared with.
    pub enum Baseline {
        /// Images of uniform noise against the reference.
        Noise = "noise",
        /// One half of the real images against the other.
        RealHalves = "real-halves",
    }
}

impl EvaluateSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let chosen: Vec<Baseline> = section.or("baselines", Vec::new())?;
        // The same baselines in another order are the same evaluation.
        let baselines = Baseline::ALL
            .iter()
            .copied()
            .filter(|item| chosen.contains(item))
            .collect();
        Ok(Self { baselines })
    }
}
