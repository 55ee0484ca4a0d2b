//! Sampled images against reference statistics.

use patchwork_terms::{Baseline, Metric};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;

pub(crate) const KEYS: &[&str] = &[
    "baselines",
    "metrics",
    "nearest_k",
    "kernel_subsets",
    "kernel_subset_images",
    "neighbours",
    "neighbour_samples",
];

/// Settings of a stage that evaluates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateSettings {
    /// Further distances that put the samples' own in proportion, without repetition.
    pub baselines: Vec<Baseline>,
    /// What is computed beside the Fréchet distance, without repetition.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Which neighbour's distance is a radius for precision, recall, density and coverage.
    #[serde(default = "nearest_k")]
    pub nearest_k: u32,
    /// Pairs of subsets for the kernel distance.
    #[serde(default = "kernel_subsets")]
    pub kernel_subsets: u32,
    /// Images in such a subset, or as many as there are.
    #[serde(default = "kernel_subset_images")]
    pub kernel_subset_images: u32,
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

impl EvaluateSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let chosen: Vec<Baseline> = section.or("baselines", Vec::new())?;
        // The same ones in another order are the same evaluation.
        let baselines = Baseline::ALL
            .iter()
            .copied()
            .filter(|item| chosen.contains(item))
            .collect();
        if section.has("neighbour_samples") && !section.has("neighbours") {
            let problem = "says for how many samples `neighbours` are shown, which is not set";
            return Err(section.invalid("neighbour_samples", problem));
        }
        let chosen: Vec<Metric> = section.or("metrics", Vec::new())?;
        let metrics = Metric::ALL
            .iter()
            .copied()
            .filter(|item| chosen.contains(item))
            .collect();
        Ok(Self {
            baselines,
            metrics,
            nearest_k: section.integer("nearest_k", Some(nearest_k()), 1..=1000)?,
            kernel_subsets: section.integer(
                "kernel_subsets",
                Some(kernel_subsets()),
                1..=10_000,
            )?,
            kernel_subset_images: section.integer(
                "kernel_subset_images",
                Some(kernel_subset_images()),
                2..=100_000,
            )?,
            neighbours: section.integer("neighbours", Some(0), 0..=100)?,
            neighbour_samples: section.integer(
                "neighbour_samples",
                Some(neighbour_samples()),
                1..=1000,
            )?,
        })
    }

    /// Whether features themselves are compared, not only their moments.
    pub fn needs_features(&self) -> bool {
        self.metrics.contains(&Metric::Kernel) || self.metrics.contains(&Metric::Manifold)
    }
}

fn nearest_k() -> u32 {
    3
}

fn kernel_subsets() -> u32 {
    100
}

fn kernel_subset_images() -> u32 {
    1000
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
