//! Preconditioning: what stands around a raw network so that it sees and predicts numbers of one size.
//!
//! `D(x; σ) = c_skip x + c_out F(c_in x; c_noise)`, with the four factors of EDM (arXiv 2206.00364), Table 1,
//! section "Network and preconditioning": its own, and those of Score-SDE's VP and VE models and of improved DDPM,
//! for runs that compare. Each comes with the noise levels that it is defined for.

use std::sync::LazyLock;

pub use patchwork_networks::Preconditioning;
use tch::{Kind, Tensor};

use crate::process::{VpProcess, iddpm_levels};
use crate::transfer::bring;

/// M: steps that VP and improved DDPM were defined with, on which their networks' noise labels count.
pub(crate) const STEPS: usize = 1000;
/// ε_t: the smallest time that a VP network is trained at.
pub(crate) const VP_EPSILON: f64 = 1e-5;
/// Smallest and largest noise level that a VE network is trained at.
pub(crate) const VE_RANGE: (f64, f64) = (0.02, 100.0);

/// u_0 … u_{M-1} of improved DDPM with C1 = 0.001, C2 = 0.008, from large to small: the levels it is trained at.
pub(crate) static IDDPM_LEVELS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut levels = iddpm_levels(STEPS, 0.001, 0.008);
    levels.truncate(STEPS);
    levels
});

/// The four factors of a batch of noise levels, all f32.
#[derive(Debug)]
pub struct Coefficients {
    /// What the noisy image is multiplied by in the output, `[n, 1, 1, 1]`.
    pub c_skip: Tensor,
    /// What the network's output is multiplied by, `[n, 1, 1, 1]`.
    pub c_out: Tensor,
    /// What the noisy image is multiplied by on its way into the network, `[n, 1, 1, 1]`.
    pub c_in: Tensor,
    /// The network's conditioning on the noise level, `[n]`.
    pub c_noise: Tensor,
}

/// The factors of a preconditioning.
///
/// # Shapes
/// - `sigma`: `[n]`, standard deviation of the noise, > 0
/// - `sigma_data`: standard deviation of the data, which only EDM's own preconditioning asks for
///
/// # Source
/// EDM, Table 1; improved DDPM's noise label there is `M - 1 - argmin_j |u_j - σ|`.
pub fn coefficients(
    preconditioning: Preconditioning,
    sigma: &Tensor,
    sigma_data: f64,
) -> Coefficients {
    let sigma = sigma.reshape([-1, 1, 1, 1]);
    if preconditioning == Preconditioning::Edm {
        return edm(&sigma.to_kind(Kind::Float), sigma_data);
    }
    // A few numbers a batch: f64 costs nothing, and the VP time of a small level cancels in f32.
    let sigma = sigma.to_kind(Kind::Double);
    let one = sigma.ones_like();
    let scaled_down = (sigma.square() + 1.0).rsqrt();
    let (c_out, c_in, c_noise) = match preconditioning {
        Preconditioning::Ve => (
            sigma.shallow_clone(),
            one.shallow_clone(),
            (&sigma / 2.0).log(),
        ),
        Preconditioning::Iddpm => (-&sigma, scaled_down, iddpm_label(&sigma)),
        Preconditioning::Vp | Preconditioning::Edm => {
            (-&sigma, scaled_down, vp_time(&sigma) * (STEPS - 1) as f64)
        }
    };
    Coefficients {
        c_skip: one.to_kind(Kind::Float),
        c_out: c_out.to_kind(Kind::Float),
        c_in: c_in.to_kind(Kind::Float),
        c_noise: c_noise.to_kind(Kind::Float).reshape([-1]),
    }
}

/// The smallest and the largest noise level that a preconditioning is defined for.
pub fn sigma_range(preconditioning: Preconditioning) -> (f64, f64) {
    match preconditioning {
        Preconditioning::Edm => (0.0, f64::INFINITY),
        Preconditioning::Vp => (
            VpProcess::PUBLISHED.sigma(VP_EPSILON),
            VpProcess::PUBLISHED.sigma(1.0),
        ),
        Preconditioning::Ve => VE_RANGE,
        Preconditioning::Iddpm => (IDDPM_LEVELS[STEPS - 1], IDDPM_LEVELS[0]),
    }
}

/// The nearest noise level that a preconditioning knows: one of the u_j for improved DDPM, `sigma` itself elsewhere.
pub fn round_sigma(preconditioning: Preconditioning, sigma: f64) -> f64 {
    if preconditioning != Preconditioning::Iddpm {
        return sigma;
    }
    IDDPM_LEVELS
        .iter()
        .copied()
        .min_by(|one, other| (one - sigma).abs().total_cmp(&(other - sigma).abs()))
        .unwrap_or(sigma)
}

fn edm(sigma: &Tensor, sigma_data: f64) -> Coefficients {
    let data_variance = sigma_data * sigma_data;
    let variance = sigma.square() + data_variance;
    let deviation = variance.sqrt();
    Coefficients {
        c_skip: variance.reciprocal() * data_variance,
        c_out: sigma * sigma_data / &deviation,
        c_in: deviation.reciprocal(),
        c_noise: (sigma.log() / 4.0).reshape([-1]),
    }
}

/// The time at which the VP process has a noise level.
fn vp_time(sigma: &Tensor) -> Tensor {
    let VpProcess { beta_d, beta_min } = VpProcess::PUBLISHED;
    let root = (sigma.square().log1p() * (2.0 * beta_d) + beta_min * beta_min).sqrt();
    (root - beta_min) / beta_d
}

/// Improved DDPM counts its levels from the smallest: M - 1 less the index of the nearest u_j.
fn iddpm_label(sigma: &Tensor) -> Tensor {
    let levels = bring(&Tensor::from_slice(&IDDPM_LEVELS), sigma.device());
    let nearest = (sigma.reshape([-1, 1]) - levels.unsqueeze(0))
        .abs()
        .argmin(1, false);
    (STEPS - 1) as f64 - nearest.to_kind(Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Preconditioning::{Edm, Iddpm, Ve, Vp};

    /// (c_skip, c_out, c_in, c_noise) of one level.
    fn at(preconditioning: Preconditioning, sigma: f64) -> [f64; 4] {
        let found = coefficients(preconditioning, &Tensor::from_slice(&[sigma]), 0.5);
        [found.c_skip, found.c_out, found.c_in, found.c_noise]
            .map(|factor| factor.double_value(&[0]))
    }

    fn check(found: [f64; 4], expected: [f64; 4], what: &str) {
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= 2e-6 * expected.abs().max(1e-3),
                "{what}: {found} is not {expected}"
            );
        }
    }

    /// Table 1 written once more, from its rows, in other terms than above.
    #[test]
    fn factors_are_those_of_table_1() {
        for sigma in [0.002, 0.021, 0.4, 1.0, 7.3, 79.0] {
            let total = 1.0 + sigma * sigma;
            // VP: σ² + 1 = exp(β_d t²/2 + β_min t), a quadratic equation for t.
            let (a, b, c) = (19.9 / 2.0, 0.1, -f64::ln(total));
            let t = 2.0 * -c / (b + (b * b - 4.0 * a * c).sqrt());
            check(
                at(Vp, sigma),
                [1.0, -sigma, total.powf(-0.5), 999.0 * t],
                "vp",
            );
            check(
                at(Ve, sigma),
                [1.0, sigma, 1.0, sigma.ln() - 2.0_f64.ln()],
                "ve",
            );
            let total = 0.25 + sigma * sigma;
            check(
                at(Edm, sigma),
                [
                    0.25 / total,
                    0.5 * sigma * total.powf(-0.5),
                    total.powf(-0.5),
                    0.25 * sigma.ln(),
                ],
                "edm",
            );
        }
    }

    /// The table of u_j built from its other end: u² + 1 = 1 / (product of the clipped ratios).
    #[test]
    fn iddpm_counts_its_levels_and_rounds_to_them() {
        let alpha_bar = |j: f64| (std::f64::consts::FRAC_PI_2 * j / 1008.0).sin().powi(2);
        for j in [0_u32, 1, 2, 8, 500, 998, 999] {
            let product: f64 = (j + 1..=1000)
                .map(|k| {
                    f64::max(
                        alpha_bar(f64::from(k) - 1.0) / alpha_bar(f64::from(k)),
                        1e-3,
                    )
                })
                .product();
            let level = (1.0 / product - 1.0).sqrt();
            assert!(
                (round_sigma(Iddpm, level) / level - 1.0).abs() < 1e-6,
                "{j}"
            );
            let label = f64::from(999 - j);
            // A level a little off has the same label but its own scale.
            for sigma in [level, level * 1.0001] {
                let scaled = (1.0 + sigma * sigma).powf(-0.5);
                check(at(Iddpm, sigma), [1.0, -sigma, scaled, label], "iddpm");
            }
        }
        assert!((round_sigma(Vp, 0.3) - 0.3).abs() < f64::EPSILON);
        let (lowest, highest) = sigma_range(Iddpm);
        assert!((round_sigma(Iddpm, 0.0) - lowest).abs() < f64::EPSILON);
        assert!((round_sigma(Iddpm, 1e6) - highest).abs() < f64::EPSILON);
    }

    #[test]
    fn networks_see_unit_variance_where_the_process_preserves_it() {
        for sigma in [0.01, 0.5, 3.0, 70.0_f64] {
            for (preconditioning, data) in [(Vp, 1.0), (Iddpm, 1.0), (Edm, 0.5_f64)] {
                let [c_skip, c_out, c_in, _] = at(preconditioning, sigma);
                let seen = c_in * c_in * (data * data + sigma * sigma);
                assert!((seen - 1.0).abs() < 1e-5, "{preconditioning:?} {sigma}");
                if preconditioning == Edm {
                    // What F has to predict: (y - c_skip (y + n)) / c_out, of unit variance too (equation 115).
                    let variance = ((1.0 - c_skip) * data).powi(2) + (c_skip * sigma).powi(2);
                    assert!((variance / (c_out * c_out) - 1.0).abs() < 1e-4, "{sigma}");
                } else {
                    // D = x ∓ σ F: what F has to predict is the unit noise itself, up to its sign.
                    let target = |noise: f64| (0.3 - c_skip * (0.3 + sigma * noise)) / c_out;
                    assert!(
                        (target(1.7).abs() - 1.7).abs() < 1e-4,
                        "{preconditioning:?} {sigma}"
                    );
                }
            }
        }
        assert!((sigma_range(Vp).0 - 1e-3).abs() < 1e-6);
        assert!((sigma_range(Vp).1 - (10.05_f64.exp() - 1.0).sqrt()).abs() < 1e-6);
    }
}
