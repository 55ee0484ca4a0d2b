//! `patch_loss`: crop, coordinates, loss and gradients from given draws.

use patchwork_diffusion::Conditioning;
use patchwork_diffusion::loss::{LossOptions, patch_loss, scalar_loss};
use patchwork_diffusion::patches::{crop, patch_positions};

use crate::denoiser::{build, conditioning, gradients};
use crate::device::device;
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let denoiser = build(case)?;
    let images = case.tensor("input/images")?;
    let (rows, cols) = (case.integers("input/row")?, case.integers("input/col")?);
    let side = case.required("patch_size")? as i64;
    let patches = crop(&images, &rows, &cols, side, side);
    let size = images.size();
    let positions = patch_positions(&rows, &cols, side, side, size[2], size[3], device());
    let conditioning = Conditioning {
        positions: denoiser
            .network
            .config()
            .position_channels
            .then(|| positions.shallow_clone()),
        ..conditioning(case)
    };
    let loss = patch_loss(
        &denoiser,
        &patches,
        &case.tensor("input/rnd_normal")?,
        &case.tensor("input/noise")?,
        &conditioning,
        &LossOptions {
            p_mean: case.required("P_mean")?,
            p_std: case.required("P_std")?,
            sigma_data: denoiser.sigma_data,
            ..LossOptions::default()
        },
    );
    let scalar = scalar_loss(&loss, 1.0, size[0]);
    scalar.backward();
    let mut ours = gradients(case, &denoiser);
    for (name, tensor) in [
        ("patches", patches),
        ("positions", positions),
        ("loss", loss),
        ("scalar", scalar),
    ] {
        ours.insert(format!("output/{name}"), tensor);
    }
    Ok(ours)
}
