//! The settings of a `evaluate` stage.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Baseline, Kind, Metric};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::checks;
use crate::graph::{Inputs, Needed};
use crate::lists::in_order;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::Recipe;
use crate::specify::SpecifyError;

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

impl Recipe for EvaluateSettings {
    fn reads(&self) -> &'static [Needed] {
        const {
            &[
                Needed::one(&[Kind::Reference]),
                Needed::several(&[Kind::Sample]),
                Needed::optional(&[Kind::Reconstruct]),
            ]
        }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        // The same ones in another order are the same evaluation.
        self.baselines = in_order(&self.baselines);
        self.metrics = in_order(&self.metrics);
        if section.has("neighbour_samples") && !section.has("neighbours") {
            let problem = "says for how many samples `neighbours` are shown, which is not set";
            return Err(section.invalid("neighbour_samples", problem));
        }
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        checks::features(self, section, inputs)?;
        checks::floor(section, inputs)?;
        checks::samples(self, section, inputs)?;
        checks::images(section, inputs)
    }

    /// Samples are measured by the extractors of the reference.
    fn look_behind(
        &self,
        _: &Stage,
        inputs: &Inputs<'_>,
        outside: &mut Outside<'_>,
    ) -> Result<(), SpecifyError> {
        if let Some((_, reference)) = inputs.reference() {
            outside.note_missing_weights(reference);
        }
        Ok(())
    }
}
