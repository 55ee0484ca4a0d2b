//! `edm_pickle`: a published checkpoint read as data: its parameters, then the denoiser.

use patchwork_diffusion::Denoiser;
use patchwork_networks::pickle::read_edm_snapshot;

use crate::denoiser::{conditioning, load};
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let file = case.settings["file"]
        .as_str()
        .ok_or("setting `file` is missing")?;
    let snapshot =
        read_edm_snapshot(&case.folder.join(file), "ema").map_err(|error| error.to_string())?;
    let expected = case.after("param/");
    if let Some(name) = expected
        .keys()
        .find(|name| !snapshot.tensors.contains_key(*name))
    {
        return Err(format!("`{name}` was not read"));
    }
    let denoiser = load(&snapshot.config, &snapshot.tensors)?;
    let denoised = tch::no_grad(|| {
        Ok::<_, String>(denoiser.denoise(
            &case.tensor("input/x")?,
            &case.tensor("input/sigma")?,
            &conditioning(case),
        ))
    })?;
    let mut ours: Tensors = snapshot
        .tensors
        .into_iter()
        .filter(|(name, _)| expected.contains_key(name))
        .map(|(name, tensor)| (format!("param/{name}"), tensor))
        .collect();
    ours.insert("output/denoised".to_owned(), denoised);
    Ok(ours)
}
