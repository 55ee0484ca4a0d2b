//! A network of any averaging width out of those that training kept.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_artifacts::worker::StageError;
use patchwork_core::{durable, file_error};
use patchwork_diffusion::{EmaProfile, PowerProfile, Reconstruction, reconstruct};
use patchwork_networks::Network;
use patchwork_networks::checkpoint::{load_network, read_safetensors};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::WIDTH_ERROR;
    use crate::train::GENERATOR;
    use patchwork_networks::NetworkConfig;
    use patchwork_networks::checkpoint::network_to_bytes;
    use serde_json::json;

    /// Writes a network of its own for each width and the record of a moment.
    fn keep(folder: &Path, stem: &str, images_seen: u64, seed: u64) -> [Network; 2] {
        let config: NetworkConfig = serde_json::from_value(json!({
            "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5,
            "out_channels": 3, "position_channels": true, "label_dim": 0, "augment_dim": 0,
            "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8],
            "dropout": 0.0, "sigma_data": 0.5
        }))
        .unwrap();
        let files = [
            format!("{stem}.safetensors"),
            format!("{stem}-ema-0.05.safetensors"),
        ];
        let networks = [0, 1].map(|index| {
            let network = Network::new(&config, Device::Cpu, seed + index as u64).unwrap();
            let bytes = network_to_bytes(&network).unwrap();
            durable::write(&folder.join(&files[index]), &bytes).unwrap();
            network
        });
        let averages = json!([
            {"file": files[0], "relative_width": 0.10}, {"file": files[1], "relative_width": 0.05}
        ]);
        let record = json!({"images_seen": images_seen, "averages": averages});
        durable::write_json(&folder.join(record_file(&files[0])), &record).unwrap();
        networks
    }

    #[test]
    fn a_width_that_was_kept_comes_back_and_later_moments_do_not_count() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        keep(folder, "snapshot-000000000", 0, 10);
        let [_, narrow] = keep(folder, "snapshot-000004000", 4_000, 20);
        let [wide, _] = keep(folder, "network", 9_000, 30);
        for (file, width, expected) in [
            ("snapshot-000004000.safetensors", 0.05, narrow),
            ("network.safetensors", 0.10, wide),
        ] {
            let (found, error) = network_of_width(folder, file, width, Device::Cpu).unwrap();
            assert!(error < 1e-6, "{file}: {error}");
            for (found, expected) in found.named_tensors().iter().zip(expected.named_tensors()) {
                let difference = (&found.tensor - &expected.tensor).abs().max();
                assert!(difference.double_value(&[]) < 1e-6, "{file} {}", found.name);
            }
        }
        let (_, error) =
            network_of_width(folder, "network.safetensors", 0.02, Device::Cpu).unwrap();
        // Two moments are too few for so narrow an average: a warning says so.
        assert!(error > WIDTH_ERROR, "{error}");
    }
}
