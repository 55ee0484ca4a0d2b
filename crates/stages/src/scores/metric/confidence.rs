//! By how much the Fréchet distance varies, and its limit for infinitely many samples.

use patchwork_artifacts::worker::StageError;
use patchwork_metrics::{MetricsError, frechet_spread};
use patchwork_weights::Quantity;

use crate::scores::comparison::{Compared, WholeImages, WholeMetric, seed};

pub(super) struct Confidence;

impl WholeMetric for Confidence {
    /// The deviation of the last score, which is the Fréchet distance, and its limit.
    fn add(&self, images: &WholeImages<'_>, compared: &mut Compared) -> Result<(), StageError> {
        let features = images.features()?;
        let spread = match frechet_spread(images.reference, &features, seed("confidence")) {
            Err(MetricsError::TooFewImages { needed, actual, .. }) => {
                compared.warnings.push(format!(
                    "`metrics` names `confidence`, which needs {needed} images, and there are {actual}: it is left out"
                ));
                return Ok(());
            }
            spread => spread?,
        };
        if let Some(last) = compared.scores.last_mut() {
            last.deviation = Some(spread.deviation);
        }
        let count = images.count();
        match spread.infinity {
            Some(value) => {
                let score = images.score(Quantity::FrechetInfinity, value, count);
                compared.scores.push(score);
            }
            None => compared.warnings.push(format!(
                "{count} images are too few to extrapolate to infinitely many in {} dimensions",
                images.stream.dimension
            )),
        }
        Ok(())
    }
}
