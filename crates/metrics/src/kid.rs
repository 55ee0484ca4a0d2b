//! The kernel distance (KID): squared maximum mean discrepancy with a cubic kernel.
//!
//! Bińkowski et al. 2018 (arXiv 1801.01401), section 4: `k(x, y) = (xᵀy / d + 1)³`, the unbiased estimator, which is
//! negative about half of the time for equal distributions.

use std::num::NonZeroU32;

use patchwork_core::Seed;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::MetricsError;
use crate::features::{blocks, checked_pair};

/// The unbiased estimate over all pairs.
///
/// # Shapes
/// - `reference`: `[n, dimension]`, `generated`: `[m, dimension]`, any float
///
/// # Errors
/// For fewer than two images, features of different width, or NaN.
pub fn kid(reference: &Tensor, generated: &Tensor) -> Result<f64, MetricsError> {
    let (reference, generated) = checked_pair(reference, generated, "the kernel distance", 2)?;
    Ok(unbiased(&reference, &generated))
}

/// How many subsets of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KidSubsets {
    /// How many pairs of subsets are drawn.
    pub subsets: NonZeroU32,
    /// Images in each; no more than either set has.
    pub images: i64,
}

/// The distance with its spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KidEstimate {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets (divided by their number).
    pub deviation: f64,
    /// What the two were taken over.
    pub subsets: KidSubsets,
}

/// The estimate over random subsets, drawn without replacement within each.
///
/// # Errors
/// As [`kid`]; also where a set has fewer images than a subset.
///
/// # Determinism
/// The subsets are a function of `seed` and the sets' sizes.
pub fn kid_over_subsets(
    reference: &Tensor,
    generated: &Tensor,
    subsets: KidSubsets,
    seed: Seed,
) -> Result<KidEstimate, MetricsError> {
    if subsets.images < 2 {
        let what = "a subset for the kernel distance";
        return Err(MetricsError::TooFewImages {
            what,
            needed: 2,
            actual: subsets.images,
        });
    }
    let what = "the kernel distance over these subsets";
    let (reference, generated) = checked_pair(reference, generated, what, subsets.images)?;
    let estimates: Vec<f64> = (0..subsets.subsets.get())
        .map(|number| {
            let seed = seed.at(u64::from(number));
            let reference = subset(&reference, subsets.images, seed.derive("reference"));
            let generated = subset(&generated, subsets.images, seed.derive("generated"));
            unbiased(&reference, &generated)
        })
        .collect();
    let count = f64::from(subsets.subsets.get());
    let mean = estimates.iter().sum::<f64>() / count;
    let variance = estimates
        .iter()
        .map(|estimate| (estimate - mean).powi(2))
        .sum::<f64>()
        / count;
    Ok(KidEstimate {
        mean,
        deviation: variance.sqrt(),
        subsets,
    })
}

/// Rows drawn without replacement by the first steps of a Fisher-Yates shuffle.
fn subset(features: &Tensor, images: i64, seed: Seed) -> Tensor {
    let mut order: Vec<i64> = (0..features.size()[0]).collect();
    let mut stream = seed.stream();
    for position in 0..images as usize {
        let remaining = (order.len() - position) as u64;
        order.swap(position, position + stream.below(remaining) as usize);
    }
    features.index_select(0, &Tensor::from_slice(&order[..images as usize]))
}

/// Bińkowski et al. 2018, equation 4.
fn unbiased(reference: &Tensor, generated: &Tensor) -> f64 {
    let within = |set: &Tensor| {
        let count = set.size()[0] as f64;
        let squares = (set * set).sum_dim_intlist(1, false, Kind::Double);
        (kernel_sum(set, set) - kernel(&squares, set.size()[1])) / (count * (count - 1.0))
    };
    let pairs = reference.size()[0] as f64 * generated.size()[0] as f64;
    within(reference) + within(generated) - 2.0 * kernel_sum(reference, generated) / pairs
}

/// The kernel summed over all pairs of rows.
fn kernel_sum(x: &Tensor, y: &Tensor) -> f64 {
    blocks(x.size()[0], y.size()[0])
        .map(|(start, length)| kernel(&x.narrow(0, start, length).matmul(&y.tr()), x.size()[1]))
        .sum()
}

/// `Σ (p / d + 1)³` over inner products.
fn kernel(products: &Tensor, dimension: i64) -> f64 {
    (products / dimension as f64 + 1.0)
        .pow_tensor_scalar(3)
        .sum(Kind::Double)
        .double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn subsets_are_reproducible_and_agree_with_all_pairs() {
        tch::manual_seed(0);
        let reference = Tensor::randn([200, 8], (Kind::Float, Device::Cpu));
        let generated = Tensor::randn([300, 8], (Kind::Float, Device::Cpu)) + 0.5;
        let subsets = KidSubsets {
            subsets: NonZeroU32::new(40).unwrap(),
            images: 100,
        };
        let estimate = kid_over_subsets(&reference, &generated, subsets, Seed::new(1)).unwrap();
        assert_eq!(
            estimate,
            kid_over_subsets(&reference, &generated, subsets, Seed::new(1)).unwrap()
        );
        let all = kid(&reference, &generated).unwrap();
        assert!(
            (estimate.mean - all).abs() < 3.0 * estimate.deviation,
            "{estimate:?} {all}"
        );
        let too_large = KidSubsets {
            subsets: NonZeroU32::MIN,
            images: 201,
        };
        let refused = kid_over_subsets(&reference, &generated, too_large, Seed::new(1));
        assert!(matches!(
            refused,
            Err(MetricsError::TooFewImages {
                needed: 201,
                actual: 200,
                ..
            })
        ));
    }

    #[test]
    fn a_subset_of_everything_is_a_permutation() {
        let rows = Tensor::arange(50, (Kind::Double, Device::Cpu)).view([50, 1]);
        let drawn = subset(&rows, 50, Seed::new(3));
        assert!(!drawn.equal(&rows));
        assert!(drawn.sort(0, false).0.equal(&rows));
    }
}
