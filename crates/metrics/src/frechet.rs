//! The Fréchet distance of two Gaussians, in float64 and in a symmetric form.
//!
//! Dowson and Landau 1982; Heusel et al. 2017 (arXiv 1706.08500), section 3:
//! `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`. The published tools take the square root of the product `Σ₁ Σ₂`, which is
//! not symmetric and whose root comes out complex where the covariances are singular. Here `Σ₁ = F Fᵀ`, and the eigenvalues of the symmetric `Fᵀ Σ₂ F` are those of the product: real whatever the
//! rank. What is not a covariance is an error, not a rounded number.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Gaussian, MetricsError};

/// Below this part of the covariances' traces, what negative eigenvalues leave over is rounding.
const ROUNDING: f64 = 1e-4;

/// The same in parts of the squared means, from which sums of outer products are cancelled.
const CANCELLATION: f64 = 1e-9;

/// Fewer images than this are below what published FIDs use.
const FEWEST_TRUSTED_IMAGES: i64 = 2048;

/// The distance and its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrechetDistance {
    /// The sum of the parts, at least 0.
    pub distance: f64,
    /// `‖μ₁ − μ₂‖²`.
    pub mean_term: f64,
    /// `tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`; below 0 only by rounding.
    pub covariance_term: f64,
}

/// The Fréchet distance of two Gaussians.
///
/// # Errors
/// [`MetricsError::Dimensions`] for features of different width, [`MetricsError::NotCovariance`] where negative
/// eigenvalues are more than rounding.
pub fn frechet_distance(
    reference: &Gaussian,
    generated: &Gaussian,
) -> Result<FrechetDistance, MetricsError> {
    if reference.dimension() != generated.dimension() {
        let (reference, generated) = (reference.dimension(), generated.dimension());
        return Err(MetricsError::Dimensions {
            reference,
            generated,
        });
    }
    let difference = reference.mean() - generated.mean();
    let mean_term = difference.dot(&difference).double_value(&[]);
    let root_trace = trace_of_root(reference, generated)?;
    let covariance_term =
        trace(reference.covariance()) + trace(generated.covariance()) - 2.0 * root_trace;
    let distance = (mean_term + covariance_term).max(0.0);
    Ok(FrechetDistance {
        distance,
        mean_term,
        covariance_term,
    })
}

/// `tr((Σ₁ Σ₂)^½)`.
fn trace_of_root(first: &Gaussian, second: &Gaussian) -> Result<f64, MetricsError> {
    let (factor, other) = factored(first, second)?;
    let product = factor.tr().matmul(other.covariance()).matmul(&factor);
    let values = ((&product + product.tr()) / 2.0).f_linalg_eigvalsh("L")?;
    let imaginary = values
        .neg()
        .clamp_min(0.0)
        .sqrt()
        .sum(Kind::Double)
        .double_value(&[]);
    check_rounding(
        imaginary,
        "the square root of the product has the imaginary trace",
        &[first, second],
    )?;
    // The rank is known; below it there are only zeros, whose rounding a root would make large.
    let rank = [values.size()[0], highest_rank(first), highest_rank(second)]
        .into_iter()
        .fold(i64::MAX, i64::min);
    let rooted = values
        .narrow(0, values.size()[0] - rank, rank)
        .clamp_min(0.0)
        .sqrt();
    Ok(rooted.sum(Kind::Double).double_value(&[]))
}

/// One of the covariances as `F Fᵀ`, and the other Gaussian.
///
/// A covariance of full rank has a Cholesky factor, at a tenth of the price of an eigen-decomposition. Where there is
/// none, the eigenvectors of the smaller set make a thin factor: `[dimension, rank]`.
fn factored<'a>(
    first: &'a Gaussian,
    second: &'a Gaussian,
) -> Result<(Tensor, &'a Gaussian), MetricsError> {
    for (full, other) in [(first, second), (second, first)] {
        if full.count() > full.dimension() {
            let (factor, failure) = full.covariance().f_linalg_cholesky_ex(false, false)?;
            if failure.int64_value(&[]) == 0 {
                return Ok((factor, other));
            }
        }
    }
    let (small, other) = if second.count() < first.count() {
        (second, first)
    } else {
        (first, second)
    };
    let (values, vectors) = small.covariance().f_linalg_eigh("L")?;
    let negative = values
        .neg()
        .clamp_min(0.0)
        .sum(Kind::Double)
        .double_value(&[]);
    check_rounding(negative, "its negative eigenvalues sum to", &[small])?;
    let rank = highest_rank(small);
    let start = small.dimension() - rank;
    let scales = values.narrow(0, start, rank).clamp_min(0.0).sqrt();
    Ok((vectors.narrow(1, start, rank) * scales, other))
}

/// The highest rank that a sample covariance of so many images can have.
fn highest_rank(gaussian: &Gaussian) -> i64 {
    (gaussian.count() - 1).clamp(1, gaussian.dimension())
}

/// What must vanish for covariances may only be rounding.
fn check_rounding(rest: f64, what: &str, sets: &[&Gaussian]) -> Result<(), MetricsError> {
    let spread: f64 = sets.iter().map(|set| trace(set.covariance())).sum();
    let offset: f64 = sets
        .iter()
        .map(|set| set.mean().dot(set.mean()).double_value(&[]))
        .sum();
    if rest <= ROUNDING * spread + CANCELLATION * offset {
        Ok(())
    } else {
        Err(MetricsError::NotCovariance {
            reason: format!("{what} {rest:.3e} beside a trace of {spread:.3e}"),
        })
    }
}

fn trace(matrix: &Tensor) -> f64 {
    matrix.trace().double_value(&[])
}

/// How far a distance from so few images can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidence {
    /// Images in the smaller set.
    pub images: i64,
    /// Width of the features.
    pub dimension: i64,
}

impl Confidence {
    /// For the smaller of the two sets; of a reference of so many images, none where nobody knows.
    pub fn of(reference_images: Option<i64>, generated: &Gaussian) -> Self {
        let images = [Some(generated.count()), reference_images];
        Self {
            images: images.into_iter().flatten().fold(i64::MAX, i64::min),
            dimension: generated.dimension(),
        }
    }

    /// Fewer than 2,048 images: the distance is biased upwards and comparable only at the same number.
    pub fn is_small(self) -> bool {
        self.images < FEWEST_TRUSTED_IMAGES
    }

    /// No more images than dimensions: the covariance is singular whatever the images are.
    pub fn is_singular(self) -> bool {
        self.images <= self.dimension
    }

    /// A warning for readers of the number; none where it can be trusted.
    pub fn warnings(self) -> Vec<String> {
        let Self { images, dimension } = self;
        let small = self.is_small().then(|| {
            format!(
                "{images} images are fewer than {FEWEST_TRUSTED_IMAGES}: the distance is biased upwards, \
                 compare it only with distances of as many images"
            )
        });
        let singular = self.is_singular().then(|| {
            format!("{images} images do not determine a covariance in {dimension} dimensions")
        });
        small.into_iter().chain(singular).collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::Moments;

    const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn gaussian(features: &Tensor) -> Gaussian {
        let mut moments = Moments::new(features.size()[1]);
        moments.accumulate(features).unwrap();
        moments.gaussian().unwrap()
    }

    /// Commuting covariances have a closed form: Σ (√a − √b)².
    #[test]
    fn diagonal_covariances_match_the_closed_form() {
        let (a, b) = ([4.0, 9.0, 0.0, 1e-8], [1.0, 9.0, 0.25, 0.0]);
        let of = |mean: f64, variances: &[f64; 4]| {
            let covariance = Tensor::from_slice(variances).diag(0);
            Gaussian::new(&Tensor::full([4], mean, DOUBLE), &covariance, 100).unwrap()
        };
        let distance = frechet_distance(&of(0.5, &a), &of(1.0, &b)).unwrap();
        let expected: f64 = a
            .iter()
            .zip(&b)
            .map(|(a, b): (&f64, &f64)| (a.sqrt() - b.sqrt()).powi(2))
            .sum();
        assert!((distance.mean_term - 1.0).abs() < 1e-12);
        assert!(
            (distance.covariance_term - expected).abs() < 1e-9,
            "{distance:?} {expected}"
        );
    }

    #[test]
    fn it_is_symmetric_and_zero_between_equals() {
        tch::manual_seed(0);
        let a = gaussian(&Tensor::randn([30, 40], DOUBLE));
        let b = gaussian(&(Tensor::randn([200, 40], DOUBLE) * 2.0 + 1.0));
        let (there, back) = (
            frechet_distance(&a, &b).unwrap(),
            frechet_distance(&b, &a).unwrap(),
        );
        assert!((there.distance - back.distance).abs() < 1e-9 * there.distance);
        for set in [&a, &b] {
            assert!(frechet_distance(set, set).unwrap().distance < 1e-6);
        }
    }

    #[test]
    fn sets_without_spread_are_a_mean_apart() {
        let constant = |value: f64| gaussian(&Tensor::full([10, 8], value, DOUBLE));
        let distance = frechet_distance(&constant(0.1), &constant(0.6))
            .unwrap()
            .distance;
        assert!((distance - 8.0 * 0.25).abs() < 1e-6, "{distance}");
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        let indefinite = Tensor::from_slice(&[1.0, 2.0, 2.0, 1.0]).view([2, 2]);
        let set = Gaussian::new(&Tensor::zeros([2], DOUBLE), &indefinite, 10).unwrap();
        let refused = frechet_distance(&set, &set);
        assert!(
            matches!(refused, Err(MetricsError::NotCovariance { .. })),
            "{refused:?}"
        );
        let asymmetric = Tensor::from_slice(&[1.0, 2.0, 0.0, 1.0]).view([2, 2]);
        assert!(Gaussian::new(&Tensor::zeros([2], DOUBLE), &asymmetric, 10).is_err());
    }

    #[test]
    fn few_images_are_warned_of() {
        let confidence = |images| {
            Confidence {
                images,
                dimension: 1280,
            }
            .warnings()
            .len()
        };
        assert_eq!([960, 1500, 2048].map(confidence), [2, 1, 0]);
        // The other set counts alone where the reference's images are not known, however narrow the features.
        let generated = Gaussian::new(&Tensor::zeros([4], DOUBLE), &Tensor::eye(4, DOUBLE), 50_000);
        let generated = generated.unwrap();
        let images = |reference| Confidence::of(reference, &generated).images;
        assert_eq!([None, Some(1000)].map(images), [50_000, 1000]);
    }
}
