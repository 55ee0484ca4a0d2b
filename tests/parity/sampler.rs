//! `sampler`: EDM's Algorithm 2 with given noise. Its helpers serve the general sampler too.

use patchwork_diffusion::sampler::{
    Churn, Guidance, HeunOptions, NoiseLevels, RecordedNoise, heun,
};

use crate::denoiser::{build, conditioning};
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let denoiser = build(case)?;
    let options = HeunOptions {
        levels: NoiseLevels {
            num_steps: case.required("num_steps")? as usize,
            sigma_min: case.required("sigma_min")?,
            sigma_max: case.required("sigma_max")?,
            rho: case.required("rho")?,
        },
        churn: churn(case),
        guidance: guidance(case),
    };
    let images = heun::sample(
        &denoiser,
        &case.tensor("input/latents")?,
        &mut noise(case)?,
        &conditioning(case),
        &options,
    );
    Ok(Tensors::from([("output/images".to_owned(), images)]))
}

/// The case's churn; what is absent adds nothing.
pub(crate) fn churn(case: &Case) -> Churn {
    Churn {
        amount: case.number("S_churn").unwrap_or(Churn::NONE.amount),
        sigma_min: case.number("S_min").unwrap_or(Churn::NONE.sigma_min),
        sigma_max: case.number("S_max").unwrap_or(Churn::NONE.sigma_max),
        noise_scale: case.number("S_noise").unwrap_or(Churn::NONE.noise_scale),
    }
}

/// The case's guidance at all noise levels.
pub(crate) fn guidance(case: &Case) -> Option<Guidance> {
    case.number("guidance").map(|scale| Guidance {
        scale,
        interval: None,
    })
}

/// The recorded draws, one a step.
pub(crate) fn noise(case: &Case) -> Result<RecordedNoise, String> {
    let count = case.after("input/noise/").len();
    let steps = (0..count)
        .map(|step| case.tensor(&format!("input/noise/{step}")))
        .collect::<Result<_, _>>()?;
    Ok(RecordedNoise::new(steps))
}
