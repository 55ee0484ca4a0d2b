//! bfloat16 against float32 on the inputs of the cases of kind `denoiser`.

use std::path::Path;

use patchwork_diffusion::precondition::coefficients;
use patchwork_diffusion::{Denoiser, NetworkDenoiser};
use tch::{Kind, Tensor};

use crate::denoiser::{build, conditioning};
use crate::runner::Case;

/// Largest difference of the denoised images, relative to float32's size.
const DENOISED: f64 = 0.02;

/// The same for the raw network, which the images see times `c_out`: 0.006 to 0.013, but 0.024 for the network with a
/// perceptron before its first convolution.
const NETWORK: f64 = 0.03;

/// Name of the case, difference of the raw network's outputs F, and of the denoised images D.
pub(crate) fn compare(folder: &Path) -> Result<Vec<(String, f64, f64)>, String> {
    let mut found = Vec::new();
    for case in Case::all(folder)? {
        if case.settings["kind"] != "denoiser" {
            continue;
        }
        let name = case.folder.file_name().unwrap_or_default();
        let (network, denoised) = tch::no_grad(|| differences(&case))?;
        found.push((name.to_string_lossy().into_owned(), network, denoised));
    }
    Ok(found)
}

fn differences(case: &Case) -> Result<(f64, f64), String> {
    let (x, sigma) = (case.tensor("input/x")?, case.tensor("input/sigma")?);
    let mut denoiser = build(case)?;
    let c_out = coefficients(denoiser.preconditioning, &sigma, denoiser.sigma_data).c_out;
    let c_skip = coefficients(denoiser.preconditioning, &sigma, denoiser.sigma_data).c_skip;
    let full = denoiser.denoise(&x, &sigma, &conditioning(case));
    // As training computes, and as sampling does.
    denoiser.precision = Kind::BFloat16;
    let cast_in_use = denoiser.denoise(&x, &sigma, &conditioning(case));
    let denoiser = NetworkDenoiser {
        network: denoiser.network.to_kind_copy(Kind::BFloat16),
        ..denoiser
    };
    let cast_before = denoiser.denoise(&x, &sigma, &conditioning(case));
    let network = (&full - &x * c_skip) / &c_out;
    let relative =
        |difference: &Tensor, whole: &Tensor| (difference.norm() / whole.norm()).double_value(&[]);
    let worst = |one: f64, other: f64| if one >= other { one } else { other };
    let [one, other] = [cast_in_use, cast_before].map(|half| half - &full);
    Ok((
        worst(
            relative(&(&one / &c_out), &network),
            relative(&(&other / &c_out), &network),
        ),
        worst(relative(&one, &full), relative(&other, &full)),
    ))
}

/// Whether both differences of a case are small; NaN is not.
pub(crate) fn agrees(network: f64, denoised: f64) -> bool {
    network <= NETWORK && denoised <= DENOISED
}
