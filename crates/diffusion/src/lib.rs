//! Patch Diffusion as mathematics on tensors.
//!
//! Patches and their coordinates, the EDM preconditioning and loss, the training step (Adam, averages, clocks)
//! and the samplers, after Patch Diffusion (arXiv 2304.12526) and EDM (Karras et al., arXiv 2206.00364).
//! Everything random comes in as an explicit draw or a seed, everything counted is counted in images seen.
//!
//! This crate must not know about files, data sets, the registry, the command line or the clock.

mod error;

pub mod patches;
pub mod transfer;

pub mod denoiser;
pub mod network_denoiser;
pub mod precondition;

mod process;

pub mod loss;

pub mod learning_rate;

pub mod flat;
pub mod optimizer;

pub mod ema;
pub mod posthoc;

pub mod fast_paths;
mod graphs;
pub mod lanes;
mod replica;
pub mod round;
pub mod train_step;

pub mod latents;

pub mod sampler;

pub mod augment;

pub mod autoencoder;

pub use denoiser::{Conditioning, Denoiser};
pub use ema::{Ema, EmaProfile};
pub use error::DiffusionError;
pub use fast_paths::{FastPath, FastPaths};
pub use lanes::Lanes;
pub use latents::{seeded_latents, to_pixels};
pub use learning_rate::LearningRate;
pub use network_denoiser::NetworkDenoiser;
pub use optimizer::{Adam, AdamOptions};
pub use patches::{PatchSides, Side, StepPlan};
pub use posthoc::{PowerProfile, Reconstruction, reconstruct};
pub use precondition::Preconditioning;
pub use round::Round;
pub use train_step::{ImageClock, ImageLoss, StepReport, TrainOptions, TrainStep};
