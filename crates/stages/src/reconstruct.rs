//! A network of any averaging width out of those that training kept.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::{durable, file_error};
use patchwork_diffusion::{EmaProfile, PowerProfile, Reconstruction, reconstruct};
use patchwork_networks::Network;
use patchwork_networks::checkpoint::{load_network, read_safetensors};
use patchwork_pipeline::worker::StageError;
use tch::{Device, Kind, Tensor};

use crate::train::{KeptAverage, KeptAverages, RECORD_SUFFIX, record_file};

/// The network whose weights are averaged with a relative width, as of the moment that `network_file` was kept at.
///
/// Uses every average that was kept up to that moment: the more `snapshot_images` training had, the closer.
/// Returns the distance of the averaging profile from the wished one, as a share, beside it.
pub(crate) fn network_of_width(
    folder: &Path,
    network_file: &str,
    width: f64,
    device: Device,
) -> Result<(Network, f64), StageError> {
    let last: KeptAverages = file_error::read_json(&folder.join(record_file(network_file)))?;
    let target = profile(width, last.images_seen)?;
    let mut profiles = Vec::new();
    let mut files = Vec::new();
    for path in durable::list(folder)? {
        if !path.to_string_lossy().ends_with(RECORD_SUFFIX) {
            continue;
        }
        let kept: KeptAverages = file_error::read_json(&path)?;
        // An average of nothing has no profile.
        if kept.images_seen == 0 || kept.images_seen > last.images_seen {
            continue;
        }
        for KeptAverage {
            file,
            relative_width,
        } in kept.averages
        {
            profiles.push(profile(relative_width, kept.images_seen)?);
            files.push(folder.join(file));
        }
    }
    let network = load_network(&folder.join(network_file), device)?;
    if profiles.is_empty() {
        return Ok((network, 0.0));
    }
    let Reconstruction {
        weights,
        relative_error,
    } = reconstruct(&profiles, target);
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    for (path, weight) in files.iter().zip(weights) {
        let mut tensors = read_safetensors(path)?;
        for parameter in network.parameters() {
            // Files have the published names.
            if let Some(tensor) = tensors.remove(&format!("model.{}", parameter.name)) {
                let part = tensor.to_kind(Kind::Double) * weight;
                sums.entry(parameter.name)
                    .and_modify(|sum| *sum += &part)
                    .or_insert(part);
            }
        }
    }
    for buffer in network.buffers() {
        sums.insert(buffer.name, buffer.tensor);
    }
    network.load(&sums)?;
    Ok((network, relative_error))
}

fn profile(width: f64, images_seen: u64) -> Result<PowerProfile, StageError> {
    let EmaProfile::Power { exponent } = EmaProfile::power(width)? else {
        unreachable!("a width belongs to a power profile")
    };
    Ok(PowerProfile {
        exponent,
        images_seen: images_seen as f64,
    })
}
