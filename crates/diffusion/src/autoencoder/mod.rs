//! Training a small KL autoencoder: reconstruction of random crops, with a slight pull of the latents towards a standard
//! normal distribution.
//!
//! Source: the objective of Rombach et al. 2022 (arXiv 2112.10752), section 3.1 and appendix G, without its perceptual
//! and adversarial terms, and with absolute and squared error in their place.

mod loss;
mod step;

pub use loss::{LossTerms, LossWeights, loss, psnr};
pub use step::{AutoencoderOptions, AutoencoderReport, AutoencoderStep, CosineRate};
