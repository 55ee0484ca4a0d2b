//! `ablation_sampler`: the general sampler of EDM's Table 1.

use patchwork_diffusion::sampler::{AblationOptions, ablation};
use serde::de::DeserializeOwned;

use crate::denoiser::{build, conditioning};
use crate::runner::{Case, Tensors};
use crate::sampler::{churn, guidance, noise};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let denoiser = build(case)?;
    let default = AblationOptions::default();
    let options = AblationOptions {
        num_steps: case.required("num_steps")? as usize,
        solver: choice(case, "solver")?,
        discretization: choice(case, "discretization")?,
        schedule: choice(case, "schedule")?,
        scaling: choice(case, "scaling")?,
        sigma_min: case.number("sigma_min"),
        sigma_max: case.number("sigma_max"),
        rho: case.number("rho").unwrap_or(default.rho),
        epsilon_s: case.number("epsilon_s").unwrap_or(default.epsilon_s),
        c_1: case.number("C_1").unwrap_or(default.c_1),
        c_2: case.number("C_2").unwrap_or(default.c_2),
        training_steps: case
            .number("M")
            .map_or(default.training_steps, |steps| steps as usize),
        alpha: case.number("alpha").unwrap_or(default.alpha),
        churn: churn(case),
        guidance: guidance(case),
    };
    let images = ablation::sample(
        &denoiser,
        &case.tensor("input/latents")?,
        &mut noise(case)?,
        &conditioning(case),
        &options,
    );
    Ok(Tensors::from([("output/images".to_owned(), images)]))
}

fn choice<T: DeserializeOwned>(case: &Case, key: &str) -> Result<T, String> {
    serde_json::from_value(case.settings[key].clone()).map_err(|error| format!("{key}: {error}"))
}
