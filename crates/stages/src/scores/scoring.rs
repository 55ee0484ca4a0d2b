//! The scores of a set of images: the Fréchet distance of each kind of features, and what the settings ask for beside it.

use patchwork_artifacts::worker::StageError;
use patchwork_metrics::{Confidence, View};

use super::comparison::{Compared, Comparison, WholeImages};
use super::metric::implementation;
use crate::features::FeatureStore;

impl Comparison {
    /// Refuses metrics that the extractors do not give, before anything is measured.
    pub(crate) fn check(&self) -> Result<(), StageError> {
        for metric in &self.settings.metrics {
            for open in self.extraction.extractors() {
                if metric.is_of(open.spec.name()) {
                    implementation(*metric).check(open)?;
                }
            }
        }
        Ok(())
    }

    /// Everything that the settings ask for; of a baseline, the Fréchet distances alone.
    pub(crate) fn scores(
        &self,
        store: &FeatureStore,
        is_baseline: bool,
    ) -> Result<Compared, StageError> {
        let mut compared = Compared {
            scores: Vec::new(),
            warnings: Vec::new(),
        };
        for (position, stream) in self.extraction.streams().iter().enumerate() {
            let name = self.extraction.stream_name(stream);
            let reference = self.reference.statistics(&name)?.gaussian()?;
            let generated = store.moments(position)?.whole()?;
            let score = self.frechet(stream, &reference, &generated)?;
            compared.scores.push(score);
            if stream.view != View::Whole {
                continue;
            }
            let reference_images = self.identity.images.map(|images| images as i64);
            let confidence = Confidence::of(reference_images, &generated);
            compared.warnings.extend(confidence.warnings());
            if is_baseline {
                continue;
            }
            let whole = WholeImages {
                comparison: self,
                store,
                position,
                stream,
                reference: &reference,
            };
            for metric in &self.settings.metrics {
                if metric.is_of(whole.open().spec.name()) {
                    implementation(*metric).add(&whole, &mut compared)?;
                }
            }
        }
        Ok(compared)
    }
}
