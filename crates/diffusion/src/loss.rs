//! The training loss, with every draw given.
//!
//! Source: EDM (arXiv 2206.00364), Table 1, rows "Training"; on patches as in Patch Diffusion, equation 2.

use patchwork_networks::Preconditioning;
use tch::{Kind, Tensor};

use crate::precondition::{IDDPM_LEVELS, STEPS, VE_RANGE, VP_EPSILON};
use crate::process::VpProcess;
use crate::transfer::bring;
use crate::{Conditioning, Denoiser};

/// The distribution of noise levels in training, and the weight that balances them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOptions {
    /// The preconditioning, to which a distribution and a weight belong; the numbers below are EDM's alone.
    pub preconditioning: Preconditioning,
    /// Mean of ln σ.
    pub p_mean: f64,
    /// Standard deviation of ln σ.
    pub p_std: f64,
    /// Standard deviation of the data, in data units.
    pub sigma_data: f64,
}

impl Default for LossOptions {
    /// EDM's values.
    fn default() -> Self {
        Self {
            preconditioning: Preconditioning::Edm,
            p_mean: -1.2,
            p_std: 1.2,
            sigma_data: 0.5,
        }
    }
}

impl LossOptions {
    /// Noise levels in training, from standard normal draws n.
    ///
    /// EDM: `exp(n · p_std + p_mean)`. The others are defined by uniform draws, which are the quantiles Φ(n) of the
    /// same draws: VP is uniform in time on [ε_t, 1], VE in ln σ, improved DDPM on its levels u_0 … u_{M-1}.
    ///
    /// # Shapes
    /// - `rnd_normal`: any shape; returns the same, f32
    pub fn sigma(&self, rnd_normal: &Tensor) -> Tensor {
        let uniform = || {
            let scaled = rnd_normal.to_kind(Kind::Double) * std::f64::consts::FRAC_1_SQRT_2;
            scaled.erf() * 0.5 + 0.5
        };
        let sigma = match self.preconditioning {
            Preconditioning::Edm => (rnd_normal * self.p_std + self.p_mean).exp(),
            Preconditioning::Vp => {
                let VpProcess { beta_d, beta_min } = VpProcess::PUBLISHED;
                let time = uniform() * (1.0 - VP_EPSILON) + VP_EPSILON;
                (time.square() * (0.5 * beta_d) + time * beta_min)
                    .expm1()
                    .sqrt()
            }
            Preconditioning::Ve => {
                let (lowest, highest) = VE_RANGE;
                (uniform() * (highest / lowest).ln()).exp() * lowest
            }
            Preconditioning::Iddpm => {
                let drawn = (uniform() * STEPS as f64)
                    .floor()
                    .clamp(0.0, (STEPS - 1) as f64)
                    .to_kind(Kind::Int64);
                bring(&Tensor::from_slice(&IDDPM_LEVELS), rnd_normal.device()).take(&drawn)
            }
        };
        sigma.to_kind(Kind::Float)
    }

    /// λ(σ), the weight of the squared error at a noise level; the same shape as `sigma`.
    pub fn weight(&self, sigma: &Tensor) -> Tensor {
        match self.preconditioning {
            Preconditioning::Edm => {
                let data_variance = self.sigma_data * self.sigma_data;
                (sigma.square() + data_variance) / (sigma * self.sigma_data).square()
            }
            Preconditioning::Vp | Preconditioning::Ve | Preconditioning::Iddpm => {
                sigma.square().reciprocal()
            }
        }
    }
}

/// The weighted squared error of every element of the patches.
///
/// # Shapes
/// - `patches`: `[n, channels, side, side]`, clean, in data units
/// - `rnd_normal`: `[n]`, standard normal; see [`LossOptions::sigma`]
/// - `noise`: like `patches`, standard normal, before it is multiplied by σ
/// - returns: like `patches`, `λ(σ) · (D(patch + σ noise; σ) - patch)²`
pub fn patch_loss(
    denoiser: &dyn Denoiser,
    patches: &Tensor,
    rnd_normal: &Tensor,
    noise: &Tensor,
    conditioning: &Conditioning,
    options: &LossOptions,
) -> Tensor {
    let sigma = options.sigma(&rnd_normal.reshape([-1, 1, 1, 1]));
    let weight = options.weight(&sigma);
    let noisy = patches + noise * &sigma;
    let denoised = denoiser.denoise(&noisy, &sigma.reshape([-1]), conditioning);
    weight * (denoised - patches).square()
}

/// The number that is back-propagated: a sum over pixels and channels, a mean over images.
///
/// `images` is the number of images of the whole step, all accumulation rounds and all ranks together (batch size ×
/// multiplier): what rounds and ranks back-propagate adds up to the mean.
pub fn scalar_loss(loss: &Tensor, loss_scaling: f64, images: i64) -> Tensor {
    loss.sum(Kind::Float) * (loss_scaling / images as f64)
}

/// Zeroes whole label rows with the given probability, which trains the unconditional branch of guidance.
///
/// # Shapes
/// - `labels`: `[n, classes]`
/// - `uniform`: `[n]`, uniform draws in [0, 1)
pub fn drop_labels(labels: &Tensor, uniform: &Tensor, probability: f64) -> Tensor {
    let kept = uniform.ge(probability).to_kind(labels.kind());
    labels * kept.unsqueeze(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn options(preconditioning: Preconditioning) -> LossOptions {
        LossOptions {
            preconditioning,
            ..LossOptions::default()
        }
    }

    /// Noise levels of 40,000 draws, ascending.
    fn levels(preconditioning: Preconditioning) -> Vec<f64> {
        let draws = {
            let _guard = crate::latents::seeded(11);
            Tensor::randn([40_000], (Kind::Float, Device::Cpu))
        };
        let sigma = options(preconditioning).sigma(&draws).sort(0, false).0;
        Vec::try_from(sigma.to_kind(Kind::Double)).unwrap()
    }

    /// The level below which a share of the draws lies, against the distribution's own; four standard errors.
    #[test]
    fn levels_are_distributed_as_in_table_1() {
        let share_below = |levels: &[f64], limit: f64| {
            levels.partition_point(|&level| level < limit) as f64 / levels.len() as f64
        };
        let check = |found: f64, share: f64, what: &str| {
            let error = 4.0 * (share * (1.0 - share) / 40_000.0).sqrt();
            assert!(
                (found - share).abs() < error,
                "{what}: {found} is not {share}"
            );
        };
        let (edm, vp, ve, iddpm) = (
            levels(Preconditioning::Edm),
            levels(Preconditioning::Vp),
            levels(Preconditioning::Ve),
            levels(Preconditioning::Iddpm),
        );
        check(share_below(&edm, (-1.2_f64).exp()), 0.5, "edm");
        check(share_below(&edm, 1.0), 0.841_344_7, "edm");
        for share in [0.05_f64, 0.3, 0.5, 0.8, 0.97] {
            let exponent = 9.95 * share * share + 0.1 * share;
            check(share_below(&vp, (exponent.exp() - 1.0).sqrt()), share, "vp");
            check(share_below(&ve, 0.02 * 5000.0_f64.powf(share)), share, "ve");
            let index = 1000 - (share * 1000.0).round() as usize;
            let between = f64::midpoint(IDDPM_LEVELS[index], IDDPM_LEVELS[index - 1]);
            check(share_below(&iddpm, between), share, "iddpm");
        }
        for (levels, (lowest, highest)) in [
            (&vp, crate::precondition::sigma_range(Preconditioning::Vp)),
            (&ve, VE_RANGE),
            (
                &iddpm,
                crate::precondition::sigma_range(Preconditioning::Iddpm),
            ),
        ] {
            assert!(levels[0] >= lowest * 0.999_999 && levels[39_999] <= highest * 1.000_001);
        }
    }

    /// A denoiser `x + c_out F` has the loss `|F - target|²` under λ = 1 / σ²; EDM's weight is 1 / c_out².
    #[test]
    fn weights_undo_the_output_scaling() {
        let sigma = Tensor::from_slice(&[0.02_f32, 0.5, 3.0, 60.0]);
        for preconditioning in [
            Preconditioning::Edm,
            Preconditioning::Vp,
            Preconditioning::Ve,
            Preconditioning::Iddpm,
        ] {
            let c_out = crate::precondition::coefficients(preconditioning, &sigma, 0.5).c_out;
            let product = options(preconditioning).weight(&sigma) * c_out.reshape([-1]).square();
            let error = (product - 1.0).abs().max().double_value(&[]);
            assert!(error < 1e-5, "{preconditioning:?}: {error}");
        }
    }

    #[test]
    fn labels_are_dropped_as_often_as_asked() {
        let (rows, classes) = (20_000, 3);
        let uniform = {
            let _guard = crate::latents::seeded(12);
            Tensor::rand([rows], (Kind::Float, Device::Cpu))
        };
        let labels = Tensor::ones([rows, classes], (Kind::Float, Device::Cpu));
        for probability in [0.0, 0.1, 0.35, 1.0_f64] {
            let left = drop_labels(&labels, &uniform, probability);
            let sums = left.sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
            // Whole rows: kept or zero.
            let whole = sums.eq(0.0).logical_or(&sums.eq(classes as f64));
            assert_eq!(whole.all().int64_value(&[]), 1);
            let dropped = sums.eq(0.0).mean(Kind::Double).double_value(&[]);
            let error = 4.0 * (probability * (1.0 - probability) / rows as f64).sqrt();
            assert!(
                (dropped - probability).abs() <= error,
                "{probability}: {dropped}"
            );
        }
    }
}
