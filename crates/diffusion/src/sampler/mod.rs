//! Samplers: from noise to images with any [`Denoiser`].
//!
//! All samplers have one signature: denoiser, latents (standard normal), noise of the steps, conditioning, options.
//! Their state is f64 on the latents' device; the denoiser computes in its own precision.

pub mod ablation;
pub mod dpm_solver;
pub mod guidance;
pub mod heun;
pub mod noise;
pub mod schedule;

#[cfg(test)]
mod tests;

pub use ablation::AblationOptions;
pub use dpm_solver::DpmSolverOptions;
pub use guidance::Guidance;
pub use heun::HeunOptions;
pub use noise::{Churn, NoNoise, NoiseSource, RecordedNoise};
pub use schedule::NoiseLevels;

use tch::Tensor;

use crate::{Conditioning, Denoiser};

/// A sampler with its options.
#[derive(Debug, Clone, PartialEq)]
pub enum SamplerOptions {
    /// EDM's Algorithm 2.
    Heun(HeunOptions),
    /// The general sampler of EDM's Table 1.
    Ablation(AblationOptions),
    /// DPM-Solver++(2M).
    DpmSolver(DpmSolverOptions),
}

impl SamplerOptions {
    /// Whether each step, in order, asks for noise when images are drawn by a denoiser; of a deterministic sampler, which
    /// may list no step, none does.
    pub fn noisy_steps(&self, denoiser: &dyn Denoiser) -> Vec<bool> {
        match self {
            Self::Heun(options) => options.noisy_steps(denoiser),
            Self::Ablation(options) => options.noisy_steps(denoiser),
            Self::DpmSolver(_) => Vec::new(),
        }
    }
}

/// Samples one batch of images.
///
/// # Shapes
/// - `latents`: `[n, channels, h, w]`, standard normal; a region of the canvas is drawn by giving a smaller
///   `h`, `w` and the region's coordinates
/// - returns: `[n, channels, h, w]`, f64, in data units, on the latents' device
///
/// # Determinism
/// A function of its arguments; nothing is drawn from global generators.
pub fn sample(
    denoiser: &dyn Denoiser,
    latents: &Tensor,
    noise: &mut dyn NoiseSource,
    conditioning: &Conditioning,
    options: &SamplerOptions,
) -> Tensor {
    match options {
        SamplerOptions::Heun(options) => {
            heun::sample(denoiser, latents, noise, conditioning, options)
        }
        SamplerOptions::Ablation(options) => {
            ablation::sample(denoiser, latents, noise, conditioning, options)
        }
        SamplerOptions::DpmSolver(options) => {
            dpm_solver::sample(denoiser, latents, noise, conditioning, options)
        }
    }
}
