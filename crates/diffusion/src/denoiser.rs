//! What a sampler and the loss need to know of a model: an estimate of the clean image.

use tch::Tensor;

/// Everything that a denoiser is conditioned on beside the noise level.
#[derive(Debug, Default)]
pub struct Conditioning {
    /// Coordinates of every pixel in the whole image, `[n, 2, h, w]` or `[1, 2, h, w]`; absent for a model without.
    pub positions: Option<Tensor>,
    /// One-hot class labels, `[n, classes]`; absent for an unconditional model.
    pub class_labels: Option<Tensor>,
    /// What augmentation did to the images, `[n, augment_dim]`; absent when sampling.
    pub augment_labels: Option<Tensor>,
}

impl Conditioning {
    /// The same conditioning without a class: all-zero labels where there were labels.
    #[must_use]
    pub fn without_class(&self) -> Self {
        Self {
            positions: self.positions.as_ref().map(Tensor::shallow_clone),
            class_labels: self.class_labels.as_ref().map(Tensor::zeros_like),
            augment_labels: self.augment_labels.as_ref().map(Tensor::shallow_clone),
        }
    }
}

/// An estimate `D(x; sigma)` of the clean image in a noisy one (EDM, equation 2).
pub trait Denoiser {
    /// Estimates the clean images.
    ///
    /// # Shapes
    /// - `noisy`: `[n, channels, h, w]`, in data units
    /// - `sigma`: `[n]`, standard deviation of the noise in the same units, > 0
    /// - returns: same shape as `noisy`
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor;

    /// The smallest and the largest noise level that the model was made for.
    fn sigma_range(&self) -> (f64, f64) {
        (0.0, f64::INFINITY)
    }

    /// The nearest noise level that the model supports.
    fn round_sigma(&self, sigma: f64) -> f64 {
        sigma
    }
}
