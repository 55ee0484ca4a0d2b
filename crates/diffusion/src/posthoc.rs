//! Averages of any width after training, from the two that were kept on the way.
//!
//! A power-function average is determined by its exponent and by when it was taken. Many stored ones span others:
//! the weights below are those whose sum comes closest to the wished average's profile.
//! Source: EDM2 (arXiv 2312.02696), section 3.2 and Appendix C.2, Algorithm 3.

use tch::{Kind, Tensor};

/// A power-function average: `p(τ) = (γ + 1) τ^γ / t^(γ+1)` on [0, t], the weight of the weights at image count τ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerProfile {
    /// γ; see [`EmaProfile::power`](crate::EmaProfile::power).
    pub exponent: f64,
    /// t: the image count at which the average was taken, > 0.
    pub images_seen: f64,
}

impl PowerProfile {
    /// `∫ p_1(τ) p_2(τ) dτ` (equation 151), as powers of ratios, which do not overflow.
    fn inner(&self, other: &Self) -> f64 {
        let (earlier, later) = if self.images_seen <= other.images_seen {
            (self, other)
        } else {
            (other, self)
        };
        let factors =
            (self.exponent + 1.0) * (other.exponent + 1.0) / (self.exponent + other.exponent + 1.0);
        let ratio = earlier.images_seen / later.images_seen;
        factors * ratio.powf(later.exponent) / later.images_seen
    }
}

/// How an average is made of stored ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// One weight for each stored average; their sum is about 1.
    pub weights: Vec<f64>,
    /// Distance of the sum's profile from the wished one, as a share of its norm: 0 is exact.
    pub relative_error: f64,
}

/// The sum of stored averages that is closest, in the least squares of their profiles, to `target`.
///
/// The stored averages should reach to the target's image count: what was trained after the last of them is unknown.
pub fn reconstruct(stored: &[PowerProfile], target: PowerProfile) -> Reconstruction {
    let gram: Vec<f64> = stored
        .iter()
        .flat_map(|one| stored.iter().map(|other| one.inner(other)))
        .collect();
    let wished: Vec<f64> = stored.iter().map(|one| one.inner(&target)).collect();
    let count = stored.len() as i64;
    // The image count is a common factor of both sides; without it the numbers are near 1.
    let gram = Tensor::from_slice(&gram).reshape([count, count]) * target.images_seen;
    let wished = Tensor::from_slice(&wished).reshape([count, 1]) * target.images_seen;
    // Profiles of neighbouring snapshots are nearly parallel: the least-norm solution stays small.
    let (weights, _, _, _) = gram.linalg_lstsq(&wished, 1e-12, "gelsd");
    let weights = Vec::try_from(weights.to_kind(Kind::Double).reshape([-1]))
        .expect("a one-dimensional f64 tensor is a vector");
    Reconstruction {
        relative_error: relative_error(stored, &weights, &target),
        weights,
    }
}

/// The norm of the difference of profiles, `|Σ w_i p_i - p|² = Σ Σ w_i w_j <p_i, p_j> - 2 Σ w_i <p_i, p> + <p, p>`.
fn relative_error(stored: &[PowerProfile], weights: &[f64], target: &PowerProfile) -> f64 {
    let weighted = || stored.iter().zip(weights);
    let own: f64 = weighted()
        .flat_map(|(one, weight)| {
            weighted().map(move |(other, factor)| weight * factor * one.inner(other))
        })
        .sum();
    let shared: f64 = weighted()
        .map(|(one, weight)| weight * one.inner(target))
        .sum();
    let whole = target.inner(target);
    (f64::max(own - 2.0 * shared + whole, 0.0) / whole).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmaProfile;

    const STEP: u64 = 10;

    fn exponent(width: f64) -> f64 {
        match EmaProfile::power(width).unwrap() {
            EmaProfile::Power { exponent } => exponent,
            EmaProfile::HalfLife { .. } => panic!("a power profile"),
        }
    }

    /// A weight on its way through training.
    fn weight(images: u64) -> f64 {
        let share = images as f64 / 100_000.0;
        1.0 - (-5.0 * share).exp() + 0.2 * (40.0 * share).sin()
    }

    /// The averages of some widths as training makes them, at each of the moments.
    fn averaged(widths: &[f64], moments: &[u64]) -> Vec<(PowerProfile, f64)> {
        let mut kept = Vec::new();
        for &width in widths {
            let profile = EmaProfile::power(width).unwrap();
            let (mut seen, mut average) = (0, 0.0);
            for &moment in moments {
                while seen < moment {
                    let beta = profile.beta(seen, STEP as f64);
                    seen += STEP;
                    average = weight(seen) + beta * (average - weight(seen));
                }
                let profile = PowerProfile {
                    exponent: exponent(width),
                    images_seen: seen as f64,
                };
                kept.push((profile, average));
            }
        }
        kept
    }

    #[test]
    fn other_widths_are_reconstructed_from_two() {
        let moments: Vec<u64> = (1..=16).map(|moment| moment * 6_000).collect();
        let stored = averaged(&[0.05, 0.10], &moments);
        let profiles: Vec<PowerProfile> = stored.iter().map(|(profile, _)| *profile).collect();
        for width in [0.04, 0.05, 0.07, 0.10, 0.15, 0.2] {
            let (target, expected) = averaged(&[width], &[96_000])[0];
            let Reconstruction {
                weights,
                relative_error,
            } = reconstruct(&profiles, target);
            assert!(relative_error < 0.05, "{width}: {relative_error}");
            let sum: f64 = weights.iter().sum();
            let found: f64 = weights
                .iter()
                .zip(&stored)
                .map(|(weight, (_, average))| weight * average)
                .sum();
            assert!((sum - 1.0).abs() < 0.01, "{width}: {sum}");
            assert!(
                (found - expected).abs() < 0.01,
                "{width}: {found} {expected}"
            );
            // The nearest of the stored ones is no such answer.
            if (width - 0.2).abs() < 1e-9 {
                let nearest = stored[31].1;
                assert!((nearest - expected).abs() > 0.015, "{nearest} {expected}");
            }
        }
    }

    #[test]
    fn a_stored_average_is_its_own_reconstruction() {
        let stored = [3_000.0, 5_000.0, 8_000.0].map(|images_seen| PowerProfile {
            exponent: 7.0,
            images_seen,
        });
        let Reconstruction {
            weights,
            relative_error,
        } = reconstruct(&stored, stored[1]);
        assert!(relative_error < 1e-6, "{relative_error}");
        // Nothing is known of what came after the last of them.
        let later = PowerProfile {
            images_seen: 16_000.0,
            ..stored[1]
        };
        assert!(reconstruct(&stored, later).relative_error > 0.3);
        for (weight, expected) in weights.iter().zip([0.0, 1.0, 0.0]) {
            assert!((weight - expected).abs() < 1e-6, "{weights:?}");
        }
    }
}
