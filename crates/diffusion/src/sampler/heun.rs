//! EDM's stochastic sampler (arXiv 2206.00364, Algorithm 2).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::guidance::{self, Guidance};
use super::noise::{Churn, NoiseSource};
use super::schedule::NoiseLevels;
use crate::{Conditioning, Denoiser};

/// Options of Algorithm 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeunOptions {
    /// The noise levels.
    pub levels: NoiseLevels,
    /// Noise added before each step.
    pub churn: Churn,
    /// Guidance towards the class; absent for the conditional model alone.
    pub guidance: Option<Guidance>,
}

impl Default for HeunOptions {
    /// 50 deterministic steps without guidance.
    fn default() -> Self {
        Self {
            levels: NoiseLevels::default(),
            churn: Churn::NONE,
            guidance: None,
        }
    }
}

impl HeunOptions {
    /// Whether each step adds noise.
    pub(super) fn noisy_steps(&self, denoiser: &dyn Denoiser) -> Vec<bool> {
        let steps = self.levels.num_steps;
        let levels = self.levels.levels(denoiser).into_iter().take(steps);
        levels.map(|t| self.churn.gamma(t, steps) > 0.0).collect()
    }
}

/// Samples one batch; see [`super::sample`] for shapes.
pub fn sample(
    denoiser: &dyn Denoiser,
    latents: &Tensor,
    noise: &mut dyn NoiseSource,
    conditioning: &Conditioning,
    options: &HeunOptions,
) -> Tensor {
    let guidance = options.guidance.as_ref();
    let slope =
        |x: &Tensor, t: f64| (x - guidance::denoise(denoiser, x, t, conditioning, guidance)) / t;
    tch::no_grad(|| {
        let levels = options.levels.levels(denoiser);
        let mut x = latents.to_kind(Kind::Double) * levels[0];
        for (step, pair) in levels.windows(2).enumerate() {
            let (t, t_next) = (pair[0], pair[1]);
            let gamma = options.churn.gamma(t, options.levels.num_steps);
            let mut t_hat = t;
            if gamma > 0.0 {
                t_hat = denoiser.round_sigma(t + gamma * t);
                let added = (t_hat * t_hat - t * t).sqrt() * options.churn.noise_scale;
                x += noise.draw(step).to_device(latents.device()) * added;
            }
            let d = slope(&x, t_hat);
            let mut next = &x + &d * (t_next - t_hat);
            if t_next > 0.0 {
                let d_next = slope(&next, t_next);
                next = &x + (d + d_next) * ((t_next - t_hat) / 2.0);
            }
            x = next;
        }
        x
    })
}
