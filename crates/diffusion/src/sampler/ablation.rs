//! The general sampler of EDM's Table 1 (arXiv 2206.00364): any solver, time steps, schedule and scaling.

pub use patchwork_terms::{Discretization, NoiseSchedule, Scaling};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::guidance::{self, Guidance};
use super::noise::{Churn, NoiseSource};
use super::schedule::{NoiseLevels, fraction};
use crate::process::{VpProcess, iddpm_levels};
use crate::{Conditioning, Denoiser};

/// How a step is taken: of the solvers, those of Table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// First order, one evaluation a step.
    Euler,
    /// Second order, two evaluations a step.
    Heun,
}

/// Options of the general sampler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblationOptions {
    /// Number of steps.
    pub num_steps: usize,
    /// How a step is taken.
    pub solver: Solver,
    /// Which noise levels are visited.
    pub discretization: Discretization,
    /// How the noise level depends on time.
    pub schedule: NoiseSchedule,
    /// How the state is scaled.
    pub scaling: Scaling,
    /// Smallest noise level; absent for the discretisation's own.
    pub sigma_min: Option<f64>,
    /// Largest noise level; absent for the discretisation's own.
    pub sigma_max: Option<f64>,
    /// Exponent of EDM's time steps.
    pub rho: f64,
    /// ε_s: the last time of the VP process.
    pub epsilon_s: f64,
    /// C1: limit of improved DDPM's steps.
    pub c_1: f64,
    /// C2: offset of improved DDPM's steps.
    pub c_2: f64,
    /// M: number of steps that improved DDPM was trained with.
    pub training_steps: usize,
    /// α: where in the step Heun's second slope is taken; 1 is the end.
    pub alpha: f64,
    /// Noise added before each step.
    pub churn: Churn,
    /// Guidance towards the class; absent for the conditional model alone.
    pub guidance: Option<Guidance>,
}

impl Default for AblationOptions {
    /// EDM's deterministic sampler in 18 steps.
    fn default() -> Self {
        Self {
            num_steps: 18,
            solver: Solver::Heun,
            discretization: Discretization::Edm,
            schedule: NoiseSchedule::Linear,
            scaling: Scaling::None,
            sigma_min: None,
            sigma_max: None,
            rho: 7.0,
            epsilon_s: 1e-3,
            c_1: 0.001,
            c_2: 0.008,
            training_steps: 1000,
            alpha: 1.0,
            churn: Churn::NONE,
            guidance: None,
        }
    }
}

/// A schedule with its constants.
#[derive(Debug, Clone, Copy)]
enum Schedule {
    Vp(VpProcess),
    Ve,
    Linear,
}

impl Schedule {
    fn sigma(self, t: f64) -> f64 {
        match self {
            Self::Vp(process) => process.sigma(t),
            Self::Ve => t.sqrt(),
            Self::Linear => t,
        }
    }

    /// dσ/dt.
    fn derivative(self, t: f64) -> f64 {
        match self {
            Self::Vp(process) => process.derivative(t),
            Self::Ve => 0.5 / t.sqrt(),
            Self::Linear => 1.0,
        }
    }

    /// The time of a noise level.
    fn time(self, sigma: f64) -> f64 {
        match self {
            Self::Vp(process) => process.time(sigma),
            Self::Ve => sigma * sigma,
            Self::Linear => sigma,
        }
    }
}

/// Schedule and scaling together: the ordinary differential equation that is solved (EDM, equation 4).
#[derive(Debug, Clone, Copy)]
struct Process {
    schedule: Schedule,
    scaling: Scaling,
}

impl Process {
    fn scale(self, t: f64) -> f64 {
        match self.scaling {
            Scaling::Vp => 1.0 / (1.0 + self.schedule.sigma(t).powi(2)).sqrt(),
            Scaling::None => 1.0,
        }
    }

    /// ds/dt.
    fn scale_derivative(self, t: f64) -> f64 {
        match self.scaling {
            Scaling::Vp => {
                -self.schedule.sigma(t) * self.schedule.derivative(t) * self.scale(t).powi(3)
            }
            Scaling::None => 0.0,
        }
    }
}

/// Samples one batch; see [`super::sample`] for shapes.
pub fn sample(
    denoiser: &dyn Denoiser,
    latents: &Tensor,
    noise: &mut dyn NoiseSource,
    conditioning: &Conditioning,
    options: &AblationOptions,
) -> Tensor {
    let (process, times) = options.visited(denoiser);
    let schedule = process.schedule;
    let guidance = options.guidance.as_ref();
    let slope = |x: &Tensor, t: f64| {
        let (sigma, scale) = (schedule.sigma(t), process.scale(t));
        let growth = schedule.derivative(t) / sigma;
        let denoised = guidance::denoise(denoiser, &(x / scale), sigma, conditioning, guidance);
        x * (growth + process.scale_derivative(t) / scale) - denoised * (growth * scale)
    };
    tch::no_grad(|| {
        let mut x =
            latents.to_kind(Kind::Double) * (schedule.sigma(times[0]) * process.scale(times[0]));
        for (step, pair) in times.windows(2).enumerate() {
            let (t, t_next) = (pair[0], pair[1]);
            let sigma = schedule.sigma(t);
            let gamma = options.churn.gamma(sigma, options.num_steps);
            let mut t_hat = t;
            if gamma > 0.0 {
                t_hat = schedule.time(denoiser.round_sigma(sigma + gamma * sigma));
                let added = f64::max(schedule.sigma(t_hat).powi(2) - sigma * sigma, 0.0).sqrt()
                    * process.scale(t_hat)
                    * options.churn.noise_scale;
                x = x * (process.scale(t_hat) / process.scale(t))
                    + noise.draw(step).to_device(latents.device()) * added;
            }
            let h = t_next - t_hat;
            let d = slope(&x, t_hat);
            if options.solver == Solver::Euler || step + 1 == options.num_steps {
                x += d * h;
            } else {
                let alpha = options.alpha;
                let ahead = &x + &d * (alpha * h);
                let d_ahead = slope(&ahead, t_hat + alpha * h);
                let weight = 1.0 / (2.0 * alpha);
                x += (d * (1.0 - weight) + d_ahead * weight) * h;
            }
        }
        x
    })
}

impl AblationOptions {
    /// Whether each step adds noise.
    pub(super) fn noisy_steps(&self, denoiser: &dyn Denoiser) -> Vec<bool> {
        let (process, times) = self.visited(denoiser);
        let levels = times.into_iter().map(|t| process.schedule.sigma(t));
        levels
            .take(self.num_steps)
            .map(|sigma| self.churn.gamma(sigma, self.num_steps) > 0.0)
            .collect()
    }

    /// The equation that is solved, and the times that are visited, the last of which is zero.
    fn visited(&self, denoiser: &dyn Denoiser) -> (Process, Vec<f64>) {
        let (sigma_min, sigma_max) = self.sigma_range(denoiser);
        let schedule = match self.schedule {
            NoiseSchedule::Vp => {
                Schedule::Vp(VpProcess::between(sigma_min, sigma_max, self.epsilon_s))
            }
            NoiseSchedule::Ve => Schedule::Ve,
            NoiseSchedule::Linear => Schedule::Linear,
        };
        let times = self
            .noise_levels(denoiser, sigma_min, sigma_max)
            .into_iter()
            .map(|sigma| schedule.time(denoiser.round_sigma(sigma)))
            .chain([0.0])
            .collect();
        let process = Process {
            schedule,
            scaling: self.scaling,
        };
        (process, times)
    }

    /// Smallest and largest noise level, within what the denoiser supports.
    fn sigma_range(&self, denoiser: &dyn Denoiser) -> (f64, f64) {
        let (low, high) = match self.discretization {
            Discretization::Vp => (
                VpProcess::PUBLISHED.sigma(self.epsilon_s),
                VpProcess::PUBLISHED.sigma(1.0),
            ),
            Discretization::Ve => (0.02, 100.0),
            Discretization::Iddpm => (0.002, 81.0),
            Discretization::Edm => (0.002, 80.0),
        };
        let (lowest, highest) = denoiser.sigma_range();
        (
            f64::max(self.sigma_min.unwrap_or(low), lowest),
            f64::min(self.sigma_max.unwrap_or(high), highest),
        )
    }

    /// The noise levels visited, from large to small, without the final zero.
    fn noise_levels(&self, denoiser: &dyn Denoiser, sigma_min: f64, sigma_max: f64) -> Vec<f64> {
        let fractions = (0..self.num_steps).map(|step| fraction(step, self.num_steps));
        match self.discretization {
            Discretization::Vp => {
                let process = VpProcess::between(sigma_min, sigma_max, self.epsilon_s);
                fractions
                    .map(|part| process.sigma(1.0 + part * (self.epsilon_s - 1.0)))
                    .collect()
            }
            Discretization::Ve => fractions
                .map(|part| sigma_max * (sigma_min / sigma_max).powf(part))
                .collect(),
            Discretization::Iddpm => {
                let levels: Vec<f64> = iddpm_levels(self.training_steps, self.c_1, self.c_2)
                    .into_iter()
                    .filter(|level| (sigma_min..=sigma_max).contains(level))
                    .collect();
                if levels.is_empty() {
                    // No level of the table lies in so narrow a range.
                    return vec![sigma_max; self.num_steps];
                }
                let last = levels.len().saturating_sub(1) as f64;
                fractions
                    .map(|part| levels[(last * part).round_ties_even() as usize])
                    .collect()
            }
            Discretization::Edm => {
                let levels = NoiseLevels {
                    num_steps: self.num_steps,
                    sigma_min,
                    sigma_max,
                    rho: self.rho,
                };
                let mut levels = levels.levels(denoiser);
                levels.truncate(self.num_steps);
                levels
            }
        }
    }
}
