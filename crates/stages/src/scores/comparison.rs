//! A reference, what is compared with it, and the features that a metric is computed of.

use patchwork_artifacts::worker::StageError;
use patchwork_artifacts::{Score, Subject};
use patchwork_core::{Fingerprint, Seed};
use patchwork_metrics::{Extraction, Gaussian, OpenExtractor, Stream, frechet_distance};
use patchwork_recipes::EvaluateSettings;
use patchwork_weights::Quantity;
use tch::Tensor;

use crate::features::FeatureStore;
use crate::statistics::{Reference, chosen_images};

/// The pixel format between sampler and extractor: no encoder that loses anything lies between them.
pub(crate) const RAW: &str = "raw u8";

/// Which reference it is.
pub(crate) struct ReferenceIdentity {
    pub(crate) fingerprint: Fingerprint,
    /// Whether it was computed by another program.
    pub(crate) is_external: bool,
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
            reference_foreign: self.identity.is_external,
            samples,
            seeds: String::new(),
            codec: RAW.to_owned(),
            images_seen: None,
        }
    }
}

/// A metric of whole images.
pub(super) trait WholeMetric: Sync {
    /// Refuses an extractor that does not give what the metric is made of.
    fn check(&self, _open: &OpenExtractor) -> Result<(), StageError> {
        Ok(())
    }

    /// Adds its scores, or a warning that says why there are none.
    fn add(&self, images: &WholeImages<'_>, compared: &mut Compared) -> Result<(), StageError>;
}

/// Whole images' features of one extractor.
pub(super) struct WholeImages<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) store: &'a FeatureStore,
    pub(super) position: usize,
    pub(super) stream: &'a Stream,
    /// The reference's moments.
    pub(super) reference: &'a Gaussian,
}

impl WholeImages<'_> {
    pub(super) fn settings(&self) -> &EvaluateSettings {
        &self.comparison.settings
    }

    pub(super) fn open(&self) -> &OpenExtractor {
        &self.comparison.extraction.extractors()[self.stream.extractor]
    }

    /// How many images there are.
    pub(super) fn count(&self) -> usize {
        self.store.count()
    }

    /// The features of all images: `[count, dimension]`, f32.
    pub(super) fn features(&self) -> Result<Tensor, StageError> {
        self.store.all(self.position)
    }

    /// Features to compare one by one: those that the reference keeps, and at most as many of the images.
    pub(super) fn pair(&self) -> Result<(&Tensor, Tensor), StageError> {
        let comparison = self.comparison;
        let stream = comparison.extraction.stream_name(self.stream);
        let reference = comparison.reference.features(&stream);
        let reference = reference.ok_or(NoFeatures { stream })?;
        let chosen = chosen_images(self.store.count(), comparison.keep_features);
        Ok((reference, self.store.rows(self.position, &chosen)?))
    }

    pub(super) fn score(&self, quantity: Quantity, value: f64, samples: usize) -> Score {
        (self.comparison).score(self.stream, quantity, value, samples as u64)
    }
}

/// Random choices of an evaluation do not depend on the samples' seeds.
pub(super) fn seed(purpose: &str) -> Seed {
    Seed::new(0).derive("evaluate").derive(purpose)
}

/// The reference keeps no features.
#[derive(Debug, thiserror::Error)]
#[error(
    "the reference keeps no features of `{stream}`, which `metrics` compare\n\
     hint: give its stage a `keep_features` above 0"
)]
struct NoFeatures {
    stream: String,
}
