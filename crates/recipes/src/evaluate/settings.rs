//! The settings of an `evaluate` stage.

use patchwork_terms::{Baseline, Metric};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// Settings of a stage that evaluates.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EvaluateSettings {
    /// Further distances that put the samples' own in proportion.
    pub baselines: Vec<Baseline>,
    /// What is computed beside the Fréchet distance.
    pub metrics: Vec<Metric>,
    /// Which neighbour's distance is a radius for precision, recall, density and coverage.
    #[default = 3]
    #[schemars(range(min = 1, max = 1000))]
    pub nearest_k: u32,
    /// Pairs of subsets for the kernel distance.
    #[default = 100]
    #[schemars(range(min = 1, max = 10_000))]
    pub kernel_subsets: u32,
    /// Images in such a subset, or as many as there are.
    #[default = 1000]
    #[schemars(range(min = 2, max = 100_000))]
    pub kernel_subset_images: u32,
    /// Training images, the nearest ones, that are shown beside each of the first samples; 0 = no such picture.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(!skip_serializing_if, range(max = 100))]
    pub neighbours: u32,
    /// Samples that they are shown of.
    #[default(NEIGHBOUR_SAMPLES)]
    #[serde(skip_serializing_if = "is_neighbour_samples")]
    #[schemars(!skip_serializing_if, range(min = 1, max = 1000))]
    pub neighbour_samples: u32,
}

const NEIGHBOUR_SAMPLES: u32 = 10;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_neighbour_samples(samples: &u32) -> bool {
    *samples == NEIGHBOUR_SAMPLES
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl EvaluateSettings {
    /// A metric that compares features themselves, not only their moments, where there is one.
    pub(crate) fn feature_metric(&self) -> Option<Metric> {
        let mut metrics = self.metrics.iter().copied();
        metrics.find(|metric| metric.compares_features())
    }
}
