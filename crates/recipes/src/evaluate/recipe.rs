//! What a stage that evaluates reads, and what must hold.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;

use super::{EvaluateSettings, checks};
use crate::error::SpecifyError;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::lists::in_order;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::Recipe;

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
