//! DPM-Solver++(2M): a second-order multistep solver with one network evaluation a step.
//!
//! Source: Lu et al., arXiv 2211.01095, Algorithm 2, on EDM's noise levels, where `α = 1` and `λ = -ln σ`.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::guidance::{self, Guidance};
use super::noise::NoiseSource;
use super::schedule::NoiseLevels;
use crate::{Conditioning, Denoiser};

/// Options of DPM-Solver++(2M).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DpmSolverOptions {
    /// The noise levels.
    pub levels: NoiseLevels,
    /// Guidance towards the class; absent for the conditional model alone.
    pub guidance: Option<Guidance>,
}

/// Samples one batch; see [`super::sample`] for shapes. Deterministic: `_noise` is not asked.
pub fn sample(
    denoiser: &dyn Denoiser,
    latents: &Tensor,
    _noise: &mut dyn NoiseSource,
    conditioning: &Conditioning,
    options: &DpmSolverOptions,
) -> Tensor {
    let guidance = options.guidance.as_ref();
    tch::no_grad(|| {
        let mut levels = options.levels.levels(denoiser);
        // Levels of a denoiser that rounds them may coincide; a step of no length has no direction.
        levels.dedup();
        let mut x = latents.to_kind(Kind::Double) * levels[0];
        let mut previous: Option<(Tensor, f64)> = None;
        for pair in levels.windows(2) {
            let (sigma, sigma_next) = (pair[0], pair[1]);
            let denoised = guidance::denoise(denoiser, &x, sigma, conditioning, guidance);
            if sigma_next <= 0.0 {
                return denoised;
            }
            let h = (sigma / sigma_next).ln();
            let direction = match &previous {
                Some((before, h_before)) => {
                    let half_ratio = h / (2.0 * h_before);
                    &denoised * (1.0 + half_ratio) - before * half_ratio
                }
                None => denoised.shallow_clone(),
            };
            x = x * (sigma_next / sigma) - direction * (-h).exp_m1();
            previous = Some((denoised, h));
        }
        x
    })
}
