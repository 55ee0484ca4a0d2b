//! The Inception Score: how sure a classifier is of each image, and how many classes it sees in all of them.
//!
//! Salimans et al. 2016 (arXiv 1606.03498), section 4: `exp(E[KL(p(y | x) ‖ p(y))])`, from 1 to the number of classes, higher
//! is better. As published: Inception-v3 of 2015 with all its 1,008 outputs and without their bias, mean and deviation over
//! ten splits of the images in their order (Barratt and Sharma 2018, arXiv 1801.01973, describe what follows from both).
//! Nothing of it depends on real images, so that it says nothing of how near generated ones come to them.

use tch::{Kind, Tensor};

use crate::MetricsError;
use crate::features::checked;

/// The splits that it is averaged over.
const SPLITS: i64 = 10;

/// Mean and standard deviation over the splits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InceptionScore {
    /// The score.
    pub mean: f64,
    /// The deviation between the splits, of the population.
    pub deviation: f64,
}

/// The score of images by their class logits.
///
/// # Shapes
/// - `logits`: `[n, classes]`, any float
///
/// # Errors
/// For fewer images than splits, and for logits that are not finite.
pub fn inception_score(logits: &Tensor) -> Result<InceptionScore, MetricsError> {
    let count = logits.size().first().copied().unwrap_or_default();
    if count < SPLITS {
        return Err(MetricsError::TooFewImages {
            what: "the Inception Score",
            needed: SPLITS,
            actual: count,
        });
    }
    let scores = (0..SPLITS)
        .map(|split| {
            let first = (split * count).div_euclid(SPLITS);
            let end = ((split + 1) * count).div_euclid(SPLITS);
            Ok(of_split(&checked(
                &logits.narrow(0, first, end - first),
                None,
            )?))
        })
        .collect::<Result<Vec<f64>, MetricsError>>()?;
    let mean = scores.iter().sum::<f64>() / SPLITS as f64;
    let squares = scores.iter().map(|score| (score - mean).powi(2));
    let deviation = (squares.sum::<f64>() / SPLITS as f64).sqrt();
    Ok(InceptionScore { mean, deviation })
}

/// `exp(E[KL(p(y | x) ‖ p(y))])` of logits `[images, classes]`, f64.
fn of_split(logits: &Tensor) -> f64 {
    let images = logits.size()[0] as f64;
    let log_p = logits.log_softmax(1, Kind::Double);
    let log_marginal = log_p.logsumexp([0i64].as_slice(), true) - images.ln(); // [1, classes]
    let divergence = (log_p.exp() * (&log_p - log_marginal)).sum(Kind::Double);
    (divergence.double_value(&[]) / images).exp()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Tensor};

    use super::*;

    fn logits(rows: usize, classes: usize, value: impl Fn(usize, usize) -> f64) -> Tensor {
        let values: Vec<f32> = (0..rows * classes)
            .map(|at| value(at / classes, at % classes) as f32)
            .collect();
        Tensor::from_slice(&values).view([rows as i64, classes as i64])
    }

    #[track_caller]
    fn check(logits: &Tensor, mean: f64, deviation: f64) {
        let score = inception_score(logits).unwrap();
        assert!((score.mean - mean).abs() < 2e-6, "{score:?}, not {mean}");
        assert!(
            (score.deviation - deviation).abs() < 2e-6,
            "{score:?}, not {deviation}"
        );
    }

    /// Each split has one image of `(0.9, 0.1)` and one of `(0.1, 0.9)`: exp(0.9 ln 1.8 + 0.1 ln 0.2) = 1.444947.
    #[test]
    fn two_classes_by_hand() {
        let surer = |row: usize, class: usize| if row % 2 == class { 0.9_f64 } else { 0.1 };
        check(
            &logits(20, 2, |row, class| surer(row, class).ln()),
            (0.9 * 1.8_f64.ln() + 0.1 * 0.2_f64.ln()).exp(),
            0.0,
        );
    }

    /// Images that look alike score 1; a sure image of each of `k` classes scores `k`.
    #[test]
    fn the_bounds_are_one_and_the_number_of_classes() {
        check(&logits(50, 8, |_, class| class as f64), 1.0, 0.0);
        let sure = |row: usize, class: usize| if row % 8 == class { 60.0 } else { 0.0 };
        check(&logits(160, 8, sure), 8.0, 0.0);
    }

    /// 137 images, of which splits hold 13 or 14: the numbers are NumPy's, by the published loop over
    /// `preds[i * n // 10 : (i + 1) * n // 10]`.
    #[test]
    fn many_images_as_numpy_has_it() {
        let wave = |row: usize, class: usize| {
            let (i, j) = (row as f64, class as f64);
            3.0 * (1.0 + i * 1.7 + j * 0.9 + i * j * 0.31).sin()
        };
        check(
            &logits(137, 7, wave),
            2.078_239_618_650_705,
            0.128_429_070_682_700_12,
        );
    }

    #[test]
    fn too_few_images_and_broken_logits_are_refused() {
        let few = Tensor::zeros([9, 4], (Kind::Float, Device::Cpu));
        assert!(matches!(
            inception_score(&few),
            Err(MetricsError::TooFewImages { needed: 10, .. })
        ));
        let broken = Tensor::full([20, 4], f64::NAN, (Kind::Float, Device::Cpu));
        assert!(matches!(
            inception_score(&broken),
            Err(MetricsError::NotFinite { .. })
        ));
    }
}
