//! From settings to the sampler's options.

use patchwork_diffusion::sampler::{
    AblationOptions, Churn, DpmSolverOptions, Guidance, HeunOptions, NoiseLevels, SamplerOptions,
    ablation,
};
use patchwork_recipes::SampleSettings;
use patchwork_terms::Solver;

pub(crate) fn sampler_options(settings: &SampleSettings) -> SamplerOptions {
    let guidance = settings.guidance.map(|scale| Guidance {
        scale,
        interval: settings.guidance_interval.map(|[low, high]| (low, high)),
    });
    let churn = Churn {
        amount: settings.s_churn,
        sigma_min: settings.s_min,
        sigma_max: settings.s_max.unwrap_or(f64::INFINITY),
        noise_scale: settings.s_noise,
    };
    let default = NoiseLevels::default();
    let levels = NoiseLevels {
        num_steps: settings.steps as usize,
        sigma_min: settings.sigma_min.unwrap_or(default.sigma_min),
        sigma_max: settings.sigma_max.unwrap_or(default.sigma_max),
        rho: settings.rho,
    };
    let solver = match settings.solver {
        Solver::Heun if settings.is_edm_process() => {
            return SamplerOptions::Heun(HeunOptions {
                levels,
                churn,
                guidance,
            });
        }
        Solver::DpmSolver2m => {
            return SamplerOptions::DpmSolver(DpmSolverOptions { levels, guidance });
        }
        Solver::Heun => ablation::Solver::Heun,
        Solver::Euler => ablation::Solver::Euler,
    };
    SamplerOptions::Ablation(AblationOptions {
        num_steps: levels.num_steps,
        solver,
        discretization: settings.discretization,
        schedule: settings.schedule,
        scaling: settings.scaling,
        sigma_min: settings.sigma_min,
        sigma_max: settings.sigma_max,
        rho: levels.rho,
        churn,
        guidance,
        ..AblationOptions::default()
    })
}

/// How often the network is evaluated for an image, guidance not counted.
pub(super) fn evaluations(settings: &SampleSettings) -> u32 {
    match settings.solver {
        Solver::Heun => 2 * settings.steps - 1,
        Solver::Euler | Solver::DpmSolver2m => settings.steps,
    }
}
