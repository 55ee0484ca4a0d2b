//! How far a Fréchet distance of N samples can be trusted: its deviation, and its limit for infinitely many samples.
//!
//! The samples are dealt at random into groups. The deviation is the delete-a-group jackknife's: how much the distance
//! moves when each group is left out. The limit is Chong and Forsyth 2020 (arXiv 1911.07023): the distance of n samples
//! is biased by a multiple of 1 / n, so that a line through distances of growing n meets 0 at the limit. Both leave the
//! reference as it is.

use patchwork_core::Seed;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::MetricsError;
use crate::features::checked;
use crate::frechet::frechet_distance;
use crate::{Gaussian, Moments};

/// Groups that the samples are dealt into.
const GROUPS: i64 = 20;

/// The line is drawn through the distances of this part of the samples up to all of them, so far as these are more
/// than dimensions.
const SMALLEST_PART: f64 = 0.25;

/// Fewer points than this make no line.
const FEWEST_POINTS: usize = 5;

/// Deviation and limit of a distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrechetSpread {
    /// Standard deviation of the distance over sets of as many samples.
    pub deviation: f64,
    /// The distance of infinitely many samples; none where there are too few samples for the features' width. It can
    /// be below 0 by chance.
    pub infinity: Option<f64>,
}

/// Deviation and limit of the distance between a reference and samples.
///
/// # Shapes
/// - `features`: `[samples, dimension]`, any float
///
/// # Errors
/// [`MetricsError::TooFewImages`] below 40 samples, and those of [`frechet_distance`].
///
/// # Determinism
/// The groups are a function of `seed` and the number of samples.
pub fn frechet_spread(
    reference: &Gaussian,
    features: &Tensor,
    seed: Seed,
) -> Result<FrechetSpread, MetricsError> {
    let count = features.size().first().copied().unwrap_or(0);
    if count < 2 * GROUPS {
        return Err(MetricsError::TooFewImages {
            what: "the deviation of a Fréchet distance",
            needed: 2 * GROUPS,
            actual: count,
        });
    }
    let groups = groups(count, seed);
    let (whole, points) = growing(reference, features, &groups)?;
    let mut distances = Vec::with_capacity(groups.len());
    for group in &groups {
        let rest = whole.without(&moments_of(features, group)?)?;
        distances.push(frechet_distance(reference, &rest.gaussian()?)?.distance);
    }
    let number = GROUPS as f64;
    let mean = distances.iter().sum::<f64>() / number;
    let squares: f64 = distances.iter().map(|one| (one - mean).powi(2)).sum();
    Ok(FrechetSpread {
        deviation: (squares * (number - 1.0) / number).sqrt(),
        infinity: limit(&points),
    })
}

/// The moments of all samples, and on the way `(n, distance)` of the first groups together.
fn growing(
    reference: &Gaussian,
    features: &Tensor,
    groups: &[Vec<i64>],
) -> Result<(Moments, Vec<(f64, f64)>), MetricsError> {
    let count = features.size()[0];
    let mut whole = Moments::new(reference.dimension());
    let mut points = Vec::new();
    for group in groups {
        whole.merge(&moments_of(features, group)?)?;
        let part = whole.count() as f64 / count as f64;
        // Half a group's tolerance: groups differ in size by one.
        if part + 0.5 / GROUPS as f64 >= SMALLEST_PART && whole.count() > whole.dimension() {
            let distance = frechet_distance(reference, &whole.gaussian()?)?.distance;
            points.push((whole.count() as f64, distance));
        }
    }
    Ok((whole, points))
}

fn moments_of(features: &Tensor, rows: &[i64]) -> Result<Moments, MetricsError> {
    let features = features.index_select(0, &Tensor::from_slice(rows));
    let features = checked(&features, None)?;
    let mut moments = Moments::new(features.size()[1]);
    moments.accumulate(&features)?;
    Ok(moments)
}

/// All positions, dealt at random into groups of almost one size.
fn groups(count: i64, seed: Seed) -> Vec<Vec<i64>> {
    let mut order: Vec<i64> = (0..count).collect();
    let mut stream = seed.stream();
    for position in (1..order.len()).rev() {
        order.swap(position, stream.below(position as u64 + 1) as usize);
    }
    (0..GROUPS)
        .map(|group| {
            let mut rows: Vec<i64> = (order.iter().copied())
                .skip(group as usize)
                .step_by(GROUPS as usize)
                .collect();
            rows.sort_unstable();
            rows
        })
        .collect()
}

/// The least-squares line of the distance over 1 / n, at 0.
fn limit(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < FEWEST_POINTS {
        return None;
    }
    let number = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / number;
    let (x, y) = (mean(|point| 1.0 / point.0), mean(|point| point.1));
    let slope = points
        .iter()
        .map(|(n, distance)| (1.0 / n - x) * (distance - y))
        .sum::<f64>()
        / points
            .iter()
            .map(|(n, _)| (1.0 / n - x).powi(2))
            .sum::<f64>();
    Some(y - slope * x)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const DIMENSION: i64 = 16;

    fn reference() -> Gaussian {
        let double = (Kind::Double, Device::Cpu);
        let covariance = Tensor::eye(DIMENSION, double);
        Gaussian::new(&Tensor::zeros([DIMENSION], double), &covariance, 1 << 40).unwrap()
    }

    /// Many sets of samples of one known distribution: the deviation is that between the sets, and the limit lies
    /// nearer to the true distance than the distance of the set itself.
    #[test]
    fn deviation_and_limit_are_those_of_many_sets() {
        const SETS: i64 = 40;
        let truth = 16.0 * 0.1_f64.powi(2) + 16.0 * (1.1_f64 - 1.0).powi(2);
        let reference = reference();
        tch::manual_seed(1);
        let (mut distances, mut deviations, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        for set in 0..SETS {
            let samples = Tensor::randn([800, DIMENSION], (Kind::Float, Device::Cpu)) * 1.1 + 0.1;
            let spread = frechet_spread(&reference, &samples, Seed::new(set as u64)).unwrap();
            let mut moments = Moments::new(DIMENSION);
            moments.accumulate(&samples).unwrap();
            let gaussian = moments.gaussian().unwrap();
            distances.push(frechet_distance(&reference, &gaussian).unwrap().distance);
            deviations.push(spread.deviation);
            limits.push(spread.infinity.unwrap());
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let centre = mean(&distances);
        let squares: Vec<f64> = distances.iter().map(|one| (one - centre).powi(2)).collect();
        let actual = mean(&squares).sqrt();
        assert!(
            (mean(&deviations) / actual - 1.0).abs() < 0.35,
            "estimated {} of {actual}",
            mean(&deviations)
        );
        let (bias, left) = (centre - truth, mean(&limits) - truth);
        assert!(
            bias > 0.02,
            "the sets are small enough to be biased: {bias}"
        );
        assert!(
            left.abs() < 0.4 * bias,
            "the limit is off by {left}, the distance by {bias}"
        );
    }

    #[test]
    fn too_few_samples_have_no_spread_and_no_limit() {
        let reference = reference();
        let samples = Tensor::randn([39, DIMENSION], (Kind::Float, Device::Cpu));
        assert!(matches!(
            frechet_spread(&reference, &samples, Seed::new(0)),
            Err(MetricsError::TooFewImages { needed: 40, .. })
        ));
        let wide = Gaussian::new(
            &Tensor::zeros([100], (Kind::Double, Device::Cpu)),
            &Tensor::eye(100, (Kind::Double, Device::Cpu)),
            1 << 40,
        );
        let samples = Tensor::randn([110, 100], (Kind::Float, Device::Cpu));
        let spread = frechet_spread(&wide.unwrap(), &samples, Seed::new(0)).unwrap();
        assert!(spread.infinity.is_none() && spread.deviation > 0.0);
    }
}
