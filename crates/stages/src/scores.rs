//! From the features of a set of images and a reference to scores.

use std::cmp::min;
use std::num::NonZeroU32;

use patchwork_artifacts::worker::StageError;
use patchwork_artifacts::{Score, Subject};
use patchwork_core::{Fingerprint, Seed};
use patchwork_metrics::{
    Confidence, Extraction, Gaussian, KidSubsets, MetricsError, Stream, View, frechet_distance,
    frechet_spread, kid_over_subsets, manifold_metrics,
};
use patchwork_recipes::EvaluateSettings;
use patchwork_terms::Metric;
use patchwork_weights::Quantity;
use tch::Tensor;

use crate::features::FeatureStore;
use crate::statistics::{Reference, chosen_images};

/// The pixel format between sampler and extractor: no encoder that loses anything lies between them.
pub(crate) const RAW: &str = "raw u8";

/// Which reference it is.
pub(crate) struct ReferenceIdentity {
    pub(crate) fingerprint: Fingerprint,
    /// Made elsewhere.
    pub(crate) foreign: bool,
    /// How many images it is of, where that is known.
    pub(crate) images: Option<u64>,
}

/// A reference, and what is compared with it.
pub(crate) struct Comparison {
    pub(crate) extraction: Extraction,
    pub(crate) reference: Reference,
    pub(crate) identity: ReferenceIdentity,
    /// Of so many images, features are compared one by one.
    pub(crate) keep_features: usize,
    pub(crate) settings: EvaluateSettings,
}

/// Scores, and what their reader should know.
pub(crate) struct Compared {
    pub(crate) scores: Vec<Score>,
    pub(crate) warnings: Vec<String>,
}

impl Comparison {
    /// The distance that stands for all: that of the first extractor's whole images.
    pub(crate) fn primary_metric(&self) -> String {
        self.extraction.extractors()[0]
            .spec
            .metric_name(Quantity::Frechet)
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
            let of_whole = OfWhole {
                comparison: self,
                store,
                position,
                stream,
            };
            if self.settings.metrics.contains(&Metric::Confidence) {
                of_whole.add_confidence(&reference, &mut compared)?;
            }
            if self.settings.needs_features() {
                of_whole.add_features(&name, &mut compared)?;
            }
        }
        Ok(compared)
    }

    /// The Fréchet distance of one kind of features.
    pub(crate) fn frechet(
        &self,
        stream: &Stream,
        reference: &Gaussian,
        generated: &Gaussian,
    ) -> Result<Score, StageError> {
        let distance = frechet_distance(reference, generated)?.distance;
        let samples = generated.count() as u64;
        Ok(self.score(stream, stream.view.quantity(), distance, samples))
    }

    fn score(&self, stream: &Stream, quantity: Quantity, value: f64, samples: u64) -> Score {
        let open = &self.extraction.extractors()[stream.extractor];
        Score {
            subject: Subject::Input(0),
            metric: open.spec.metric_name(quantity),
            quantity: Some(quantity),
            value,
            deviation: None,
            extractor: open.spec.name().to_owned(),
            extractor_digest: open.extractor.weights_digest(),
            resize: open.spec.preprocessing(),
            reference: self.identity.fingerprint,
            reference_images: self.identity.images.unwrap_or(0),
            reference_foreign: self.identity.foreign,
            samples,
            seeds: String::new(),
            codec: RAW.to_owned(),
            images_seen: None,
        }
    }
}

/// Whole images' features of one extractor.
struct OfWhole<'a> {
    comparison: &'a Comparison,
    store: &'a FeatureStore,
    position: usize,
    stream: &'a Stream,
}

impl OfWhole<'_> {
    fn score(&self, quantity: Quantity, value: f64, samples: usize) -> Score {
        (self.comparison).score(self.stream, quantity, value, samples as u64)
    }

    /// The last score's deviation, and its limit.
    fn add_confidence(
        &self,
        reference: &Gaussian,
        compared: &mut Compared,
    ) -> Result<(), StageError> {
        let features = self.store.all(self.position)?;
        let spread = match frechet_spread(reference, &features, seed("confidence")) {
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
        match spread.infinity {
            Some(value) => {
                let count = self.store.count();
                compared
                    .scores
                    .push(self.score(Quantity::FrechetInfinity, value, count));
            }
            None => compared.warnings.push(format!(
                "{} images are too few to extrapolate to infinitely many in {} dimensions",
                self.store.count(),
                self.stream.dimension
            )),
        }
        Ok(())
    }

    /// What compares features one by one.
    fn add_features(&self, name: &str, compared: &mut Compared) -> Result<(), StageError> {
        let settings = &self.comparison.settings;
        let reference = (self.comparison.reference.features(name)).ok_or_else(|| NoFeatures {
            stream: name.to_owned(),
        })?;
        let chosen = chosen_images(self.store.count(), self.comparison.keep_features);
        let generated = self.store.rows(self.position, &chosen)?;
        let count = chosen.len();
        if settings.metrics.contains(&Metric::Kernel) {
            self.add_kernel(reference, &generated, compared)?;
        }
        if settings.metrics.contains(&Metric::Manifold) {
            let nearest_k = i64::from(settings.nearest_k);
            let fewest = min(reference.size()[0], generated.size()[0]);
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
                compared.scores.push(self.score(quantity, value, count));
            }
        }
        Ok(())
    }

    /// The kernel distance over subsets, which are smaller than both sets or all the same.
    fn add_kernel(
        &self,
        reference: &Tensor,
        generated: &Tensor,
        compared: &mut Compared,
    ) -> Result<(), StageError> {
        let settings = &self.comparison.settings;
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
        let kernel = kid_over_subsets(reference, generated, subsets, seed("kernel"))?;
        let mut score = self.score(Quantity::Kernel, kernel.mean, samples as usize);
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

/// Random choices of an evaluation do not depend on the samples' seeds.
fn seed(purpose: &str) -> Seed {
    Seed::new(0).derive("evaluate").derive(purpose)
}

/// The reference keeps no features.
#[derive(Debug, thiserror::Error)]
#[error(
    "the reference keeps no features of `{stream}`, which `kernel` and `manifold` compare: \
     give its stage a `keep_features` above 0"
)]
struct NoFeatures {
    stream: String,
}
