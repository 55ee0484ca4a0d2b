//! EDM's noise levels.

use serde::{Deserialize, Serialize};

use crate::Denoiser;

/// The noise levels of a sampler (EDM, equation 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NoiseLevels {
    /// Number of steps n; the levels are n and a final zero.
    pub num_steps: usize,
    /// The smallest level but zero, in data units.
    pub sigma_min: f64,
    /// The level to start from, in data units.
    pub sigma_max: f64,
    /// How much shorter the steps near zero are.
    pub rho: f64,
}

impl Default for NoiseLevels {
    fn default() -> Self {
        Self {
            num_steps: 50,
            sigma_min: 0.002,
            sigma_max: 80.0,
            rho: 7.0,
        }
    }
}

impl NoiseLevels {
    /// The levels from large to small with a final zero, within what the denoiser supports.
    pub fn levels(&self, denoiser: &dyn Denoiser) -> Vec<f64> {
        let (lowest, highest) = denoiser.sigma_range();
        let start = f64::min(self.sigma_max, highest).powf(1.0 / self.rho);
        let end = f64::max(self.sigma_min, lowest).powf(1.0 / self.rho);
        (0..self.num_steps)
            .map(|step| {
                let sigma = start + fraction(step, self.num_steps) * (end - start);
                denoiser.round_sigma(sigma.powf(self.rho))
            })
            .chain([0.0])
            .collect()
    }
}

/// Where step `step` of `num_steps` lies between the first (0) and the last (1).
pub(super) fn fraction(step: usize, num_steps: usize) -> f64 {
    step as f64 / usize::max(num_steps.saturating_sub(1), 1) as f64
}
