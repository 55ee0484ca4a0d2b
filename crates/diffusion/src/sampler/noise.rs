//! Noise that a sampler adds on its way: how much, and where the draws come from.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Where the standard normal draws of a sampler's steps come from.
pub trait NoiseSource {
    /// The draw of step `step` (from 0), f64, shaped like the latents. Asked for at most once a step, in order,
    /// and only where noise is added.
    fn draw(&mut self, step: usize) -> Tensor;
}

/// Draws made beforehand, each handed out once.
#[derive(Debug)]
pub struct RecordedNoise {
    steps: Vec<Option<Tensor>>,
}

impl RecordedNoise {
    /// Takes the draws of the steps in order, each shaped like the latents.
    pub fn new(steps: Vec<Tensor>) -> Self {
        Self::of_steps(steps.into_iter().map(Some).collect())
    }

    /// The same without those of steps that add no noise.
    pub(crate) fn of_steps(steps: Vec<Option<Tensor>>) -> Self {
        Self { steps }
    }
}

impl RecordedNoise {
    /// The draws of some of the images, in the same memory.
    #[must_use]
    pub fn of_images(&self, first: i64, count: i64) -> Self {
        let steps = self
            .steps
            .iter()
            .map(|step| step.as_ref().map(|draws| draws.narrow(0, first, count)));
        Self::of_steps(steps.collect())
    }
}

impl NoiseSource for RecordedNoise {
    /// # Panics
    /// When the draw of a step was not recorded, or was handed out already.
    fn draw(&mut self, step: usize) -> Tensor {
        let recorded = self.steps.get_mut(step).and_then(Option::take);
        recorded.expect("one draw is recorded for each step that adds noise")
    }
}

/// No draws, for deterministic samplers.
#[derive(Debug, Clone, Copy)]
pub struct NoNoise;

impl NoiseSource for NoNoise {
    /// # Panics
    /// Always: a sampler without churn asks for no noise.
    fn draw(&mut self, step: usize) -> Tensor {
        panic!("step {step} asks for noise: a sampler with churn needs recorded draws")
    }
}

/// Noise added before each step (EDM, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// S_churn: how much noise all steps together add; 0 for a deterministic sampler.
    pub amount: f64,
    /// S_min: no noise is added below this level.
    pub sigma_min: f64,
    /// S_max: no noise is added above this level.
    pub sigma_max: f64,
    /// S_noise: standard deviation of the added noise, about 1.
    pub noise_scale: f64,
}

impl Churn {
    /// No added noise.
    pub const NONE: Self = Self {
        amount: 0.0,
        sigma_min: 0.0,
        sigma_max: f64::INFINITY,
        noise_scale: 1.0,
    };

    /// γ of a step at level `sigma`: the share by which its noise level is raised.
    pub(super) fn gamma(&self, sigma: f64, num_steps: usize) -> f64 {
        if (self.sigma_min..=self.sigma_max).contains(&sigma) {
            f64::min(
                self.amount / num_steps as f64,
                std::f64::consts::SQRT_2 - 1.0,
            )
        } else {
            0.0
        }
    }
}
