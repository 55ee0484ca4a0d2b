//! The objective of an autoencoder, and the measure of its reconstructions.

use patchwork_networks::autoencoder::{Autoencoder, Posterior};
use tch::{Kind, Tensor};

use crate::DiffusionError;

/// How much each part counts; all are sums over an image divided by the number of its pixel values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// Absolute error.
    pub absolute: f64,
    /// Squared error.
    pub squared: f64,
    /// Kullback-Leibler divergence of the latents' distributions from the standard normal one.
    pub divergence: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            absolute: 1.0,
            squared: 1.0,
            divergence: 1e-4,
        }
    }
}

/// The parts of the objective, unweighted, and their weighted sum; scalars.
#[derive(Debug)]
pub struct LossTerms {
    /// What is minimised.
    pub total: Tensor,
    /// Mean absolute error of a pixel value.
    pub absolute: Tensor,
    /// Mean squared error of a pixel value.
    pub squared: Tensor,
    /// Divergence for each pixel value.
    pub divergence: Tensor,
}

/// The objective on a batch, with latents drawn from `noise`.
///
/// # Shapes
/// - `images`: `[n, channels, h, w]`, f32 in [-1, 1]
/// - `noise`: standard normal, of the latents' shape
///
/// # Errors
/// [`DiffusionError::Network`] for images that cannot be encoded.
pub fn loss(
    autoencoder: &Autoencoder,
    images: &Tensor,
    noise: &Tensor,
    weights: &LossWeights,
) -> Result<LossTerms, DiffusionError> {
    let posterior = autoencoder.encode(images)?;
    let difference = autoencoder.decode(&posterior.sample(noise)) - images;
    let absolute = difference.abs().mean(Kind::Float);
    let squared = difference.square().mean(Kind::Float);
    let divergence = divergence(&posterior) / images.numel() as f64;
    let total = &absolute * weights.absolute
        + &squared * weights.squared
        + &divergence * weights.divergence;
    Ok(LossTerms {
        total,
        absolute,
        squared,
        divergence,
    })
}

/// Sum over all latents of ½ (mean² + variance − 1 − ln variance).
fn divergence(posterior: &Posterior) -> Tensor {
    let Posterior { mean, log_variance } = posterior;
    (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(Kind::Float) * 0.5
}

/// Peak signal-to-noise ratio in decibels of byte images, over all values of all of them; infinite where they are equal.
///
/// # Shapes
/// Both of one shape, u8.
pub fn psnr(images: &Tensor, reconstructions: &Tensor) -> f64 {
    let [images, reconstructions] =
        [images, reconstructions].map(|bytes| bytes.to_kind(Kind::Double));
    let error = (images - reconstructions)
        .square()
        .mean(Kind::Double)
        .double_value(&[]);
    10.0 * (255.0_f64.powi(2) / error).log10()
}
