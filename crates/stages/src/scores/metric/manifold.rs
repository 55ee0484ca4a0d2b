//! Precision, recall, density and coverage.

use std::cmp::min;

use patchwork_artifacts::worker::StageError;
use patchwork_metrics::manifold_metrics;
use patchwork_weights::Quantity;

use crate::scores::comparison::{Compared, WholeImages, WholeMetric};

pub(super) struct Manifold;

impl WholeMetric for Manifold {
    fn add(&self, images: &WholeImages<'_>, compared: &mut Compared) -> Result<(), StageError> {
        let (reference, generated) = images.pair()?;
        let count = generated.size()[0];
        let nearest_k = i64::from(images.settings().nearest_k);
        let fewest = min(reference.size()[0], count);
        if fewest <= nearest_k {
            compared.warnings.push(format!(
                "`metrics` names `manifold`, which needs more images than `nearest_k = {nearest_k}`, and there are \
                 {fewest}: it is left out"
            ));
            return Ok(());
        }
        let manifold = manifold_metrics(reference, &generated, nearest_k)?;
        for (quantity, value) in [
            (Quantity::Precision, manifold.precision),
            (Quantity::Recall, manifold.recall),
            (Quantity::Density, manifold.density),
            (Quantity::Coverage, manifold.coverage),
        ] {
            let score = images.score(quantity, value, count as usize);
            compared.scores.push(score);
        }
        Ok(())
    }
}
