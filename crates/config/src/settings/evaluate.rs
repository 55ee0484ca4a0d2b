//! Sampled images against reference statistics.

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::value::choice;

pub(crate) const KEYS: &[&str] = &["baselines", "neighbours", "neighbour_samples"];

/// Settings of a stage that evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateSettings {
    /// Further distances that put the samples' own in proportion, without repetition.
    pub baselines: Vec<Baseline>,
    /// Training images, the nearest ones, that are shown beside each of the first samples; 0 = no such picture.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub neighbours: u32,
    /// Samples that they are shown of.
    #[serde(
        default = "neighbour_samples",
        skip_serializing_if = "is_neighbour_samples"
    )]
    pub neighbour_samples: u32,
}

fn neighbour_samples() -> u32 {
    10
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_neighbour_samples(samples: &u32) -> bool {
    *samples == neighbour_samples()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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
        if section.has("neighbour_samples") && !section.has("neighbours") {
            let problem = "says for how many samples `neighbours` are shown, which is not set";
            return Err(section.invalid("neighbour_samples", problem));
        }
        Ok(Self {
            baselines,
            neighbours: section.integer("neighbours", Some(0), 0..=100)?,
            neighbour_samples: section.integer(
                "neighbour_samples",
                Some(neighbour_samples()),
                1..=1000,
            )?,
        })
    }
}
