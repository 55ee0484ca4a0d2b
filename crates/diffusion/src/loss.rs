//! The training loss, with every draw given.
//!
//! Source: EDM (arXiv 2206.00364), Table 1, rows "Training"; on patches as in Patch Diffusion, equation 2.

use tch::{Kind, Tensor};

use crate::{Conditioning, Denoiser};

/// The distribution of noise levels in training, and the weight that balances them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOptions {
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
            p_mean: -1.2,
            p_std: 1.2,
            sigma_data: 0.5,
        }
    }
}

/// The weighted squared error of every element of the patches.
///
/// # Shapes
/// - `patches`: `[n, channels, side, side]`, clean, in data units
/// - `rnd_normal`: `[n]`, standard normal; `σ = exp(rnd_normal · p_std + p_mean)`
/// - `noise`: like `patches`, standard normal, before it is multiplied by σ
/// - returns: like `patches`, `(σ² + σ_data²) / (σ σ_data)² · (D(patch + σ noise; σ) - patch)²`
pub fn patch_loss(
    denoiser: &dyn Denoiser,
    patches: &Tensor,
    rnd_normal: &Tensor,
    noise: &Tensor,
    conditioning: &Conditioning,
    options: &LossOptions,
) -> Tensor {
    let sigma = (rnd_normal.reshape([-1, 1, 1, 1]) * options.p_std + options.p_mean).exp();
    let data_variance = options.sigma_data * options.sigma_data;
    let weight = (sigma.square() + data_variance) / (&sigma * options.sigma_data).square();
    let noisy = patches + noise * &sigma;
    let denoised = denoiser.denoise(&noisy, &sigma.reshape([-1]), conditioning);
    weight * (denoised - patches).square()
}

/// The number that is back-propagated: a sum over pixels and channels, a mean over images.
///
/// `images` is the number of images of the whole step on this rank, all accumulation rounds together
/// (batch per rank × multiplier).
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
