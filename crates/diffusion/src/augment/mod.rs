//! Non-leaking augmentation: transformations of the training images that the network is conditioned on.
//!
//! Each transformation of an image is drawn, applied with probability `probability × multiplier`, and its numbers
//! become the image's `augment_labels`; at sampling no labels are given and samples show no transformation.
//! Source: EDM (arXiv 2206.00364), Appendix F.2 and Table 6; blitting, warping and colour after StyleGAN2-ADA
//! (arXiv 2006.06676), Appendix B, colour in homogeneous RGB coordinates.

mod blit;
mod color;
mod draws;
mod geometry;
mod matrix;
mod options;
mod wavelet;

pub use draws::{AugmentDraws, GeneratorDraws, PartDraws};
pub use options::AugmentOptions;

use tch::{Kind, Tensor};

use crate::DiffusionError;
use crate::transfer::bring;

/// Transforms every image by its own draws.
///
/// # Shapes
/// - `images`: `[n, channels, h, w]`, f32 in [-1, 1]; three channels where colour is transformed
/// - returns: images of the same shape, and their labels `[n, label_dim]`, f32
///
/// # Errors
/// [`DiffusionError::ColorChannels`] when colour transformations meet images without three channels,
/// [`DiffusionError::QuarterTurns`] when images that are not square are to be turned.
pub fn augment(
    images: &Tensor,
    options: &AugmentOptions,
    draws: &mut dyn AugmentDraws,
) -> Result<(Tensor, Tensor), DiffusionError> {
    let count = images.size()[0] as usize;
    let mut gated = draws::Gated::new(draws, count, options.probability);
    let mut labels = draws::Labels::default();

    let moved = blit::blit(images, options, &mut gated, &mut labels)?;
    let warped = geometry::warp(&moved, options, &mut gated, &mut labels);
    let colored = color::transform(&warped, options, &mut gated, &mut labels)?;

    let labels = bring(&labels.into_tensor(count), images.device());
    Ok((colored, labels.to_kind(Kind::Float)))
}
