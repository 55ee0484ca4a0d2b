//! The kernel distance over subsets, which are smaller than both sets or all the same.

use std::cmp::min;
use std::num::NonZeroU32;

use patchwork_artifacts::worker::StageError;
use patchwork_metrics::{KidSubsets, kid_over_subsets};
use patchwork_weights::Quantity;

use crate::scores::comparison::{Compared, WholeImages, WholeMetric, seed};

pub(super) struct Kernel;

impl WholeMetric for Kernel {
    fn add(&self, images: &WholeImages<'_>, compared: &mut Compared) -> Result<(), StageError> {
        let settings = images.settings();
        let (reference, generated) = images.pair()?;
        let (references, samples) = (reference.size()[0], generated.size()[0]);
        let fewest = min(references, samples);
        if fewest < 2 {
            compared.warnings.push(format!(
                "`metrics` names `kernel`, which needs 2 images, and there are {fewest}: it is left out"
            ));
            return Ok(());
        }
        let wanted = i64::from(settings.kernel_subset_images);
        let subsets = KidSubsets {
            subsets: NonZeroU32::new(settings.kernel_subsets).unwrap_or(NonZeroU32::MIN),
            images: min(wanted, fewest),
        };
        let kernel = kid_over_subsets(reference, &generated, subsets, seed("kernel"))?;
        let mut score = images.score(Quantity::Kernel, kernel.mean, samples as usize);
        // Subsets that hold everything are one subset, however often it is taken.
        let differ =
            min(wanted, fewest) < i64::max(references, samples) && settings.kernel_subsets > 1;
        score.deviation = differ.then_some(kernel.deviation);
        if wanted >= fewest {
            let deviation = if differ {
                "understates how they vary"
            } else {
                "is not known"
            };
            compared.warnings.push(format!(
                "`kernel_subset_images = {wanted}`, and there are {fewest} images: the subsets hold all of them, and the \
                 deviation of the kernel distance {deviation}"
            ));
        }
        compared.scores.push(score);
        Ok(())
    }
}
