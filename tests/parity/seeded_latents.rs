//! `seeded_latents`: the draws of a seed.

use patchwork_diffusion::seeded_latents;

use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let list = |key: &str| -> Result<Vec<u64>, String> {
        case.settings[key]
            .as_array()
            .and_then(|values| values.iter().map(serde_json::Value::as_u64).collect())
            .ok_or(format!("setting `{key}` is not a list of numbers"))
    };
    let seeds = list("seeds")?;
    let [channels, height, width] = list("shape")?[..] else {
        return Err("setting `shape` has not three numbers".to_owned());
    };
    let latents = seeded_latents(&seeds, channels as i64, height as i64, width as i64);
    Ok(seeds
        .iter()
        .zip(0..)
        .map(|(seed, index)| (format!("output/{seed}"), latents.get(index)))
        .collect())
}
