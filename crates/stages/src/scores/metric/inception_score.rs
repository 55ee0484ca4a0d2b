//! The Inception Score, of Inception-v3 with its classifier.

use patchwork_artifacts::worker::StageError;
use patchwork_metrics::{MetricsError, OpenExtractor, inception_score};
use patchwork_weights::Quantity;
use tch::{Device, Kind, Tensor};

use crate::scores::comparison::{Compared, WholeImages, WholeMetric};

pub(super) struct InceptionScore;

impl WholeMetric for InceptionScore {
    fn check(&self, open: &OpenExtractor) -> Result<(), StageError> {
        let none = Tensor::zeros([0, open.extractor.dimension()], (Kind::Float, Device::Cpu));
        match open.extractor.class_logits(&none) {
            Some(_) => Ok(()),
            None => Err(NoClassifier.into()),
        }
    }

    fn add(&self, images: &WholeImages<'_>, compared: &mut Compared) -> Result<(), StageError> {
        let features = images.features()?;
        let logits = (images.open().extractor.class_logits(&features)).ok_or(NoClassifier)?;
        let found = match inception_score(&logits) {
            Err(MetricsError::TooFewImages { needed, actual, .. }) => {
                compared.warnings.push(format!(
                    "`metrics` names `inception-score`, which needs {needed} images, and there are {actual}: it is left out"
                ));
                return Ok(());
            }
            found => found?,
        };
        let mut score = images.score(Quantity::InceptionScore, found.mean, images.count());
        score.deviation = Some(found.deviation);
        compared.scores.push(score);
        Ok(())
    }
}

/// The weights have no classifier.
#[derive(Debug, thiserror::Error)]
#[error(
    "`metrics` names `inception-score`, and these weights of Inception-v3 give no class logits\n\
     hint: NVIDIA's TorchScript program keeps them to itself; `patchwork weights get inception` fetches the weights that \
     have them"
)]
struct NoClassifier;
