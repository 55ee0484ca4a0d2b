//! Checkpoints of other programs made ours, and ours made theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_networks::checkpoint::{load_network, read_safetensors, to_safetensors_bytes};
use patchwork_networks::conversion::{
    CheckpointFormat, ElementType, Summary, export, import, inspect, read_config,
};
use patchwork_networks::pickle::parse_edm_snapshot;
use patchwork_networks::{Network, NetworkConfig, NetworkError};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::allocation::peak;
use crate::pickler::{Pickler, archive_of, legacy_of, published, published_path};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn config() -> NetworkConfig {
    serde_json::from_value(json!({
        "arch": "ncsnpp", "img_resolution": 16, "img_channels": 3, "in_channels": 3, "out_channels": 3,
        "position_channels": false, "label_dim": 2, "augment_dim": 9, "model_channels": 8, "channel_mult": [1, 2],
        "channel_mult_noise": 2, "embedding_type": "fourier", "encoder_type": "residual",
        "resample_filter": [1, 3, 3, 1], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1, "sigma_data": 0.5
    }))
    .unwrap()
}

fn weights(network: &Network) -> BTreeMap<String, Tensor> {
    network
        .named_tensors()
        .into_iter()
        .map(|each| (each.name, each.tensor.detach()))
        .collect()
}

/// A state dictionary with `prefix` before every name: the pickle and its storages.
fn state_dict(network: &Network, prefix: &str) -> (Vec<u8>, Vec<(String, Vec<f32>)>) {
    let mut pickler = Pickler::new().raw(b"}(");
    let mut storages = Vec::new();
    for (name, tensor) in weights(network) {
        let size: Vec<i32> = tensor.size().iter().map(|side| *side as i32).collect();
        let stride: Vec<i32> = tensor.stride().iter().map(|step| *step as i32).collect();
        let elements: Vec<f32> = tensor.flatten(0, -1).try_into().unwrap();
        let key = storages.len().to_string();
        pickler = pickler.text(&format!("{prefix}{name}")).tensor(
            &key,
            elements.len() as i32,
            0,
            &size,
            &stride,
        );
        storages.push((key, elements));
    }
    (pickler.raw(b"u.").0, storages)
}

fn message(result: Result<Vec<u8>, NetworkError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_published_snapshot_becomes_a_checkpoint_that_loads() {
    let folder = Folder::new();
    let snapshot = parse_edm_snapshot(&published(), "ema").unwrap();
    let bytes = import(&published_path(), None, None).unwrap();
    let path = folder.file("imported.safetensors", &bytes);
    let network = load_network(&path, Device::Cpu).unwrap();
    assert_eq!(network.config(), &snapshot.config);
    assert_eq!(read_safetensors(&path).unwrap(), snapshot.tensors);
    // What is ours already comes out as it went in.
    assert_eq!(import(&path, None, None).unwrap(), bytes);

    let (theirs, ours) = (
        inspect(&published_path(), None).unwrap(),
        inspect(&path, None).unwrap(),
    );
    assert_eq!(theirs.format, CheckpointFormat::EdmPickle);
    assert_eq!(
        ours,
        Summary {
            format: CheckpointFormat::Safetensors,
            description: "safetensors",
            ..theirs
        }
    );
    let parameters: usize = network
        .parameters()
        .iter()
        .map(|each| each.tensor.numel())
        .sum();
    assert_eq!(ours.parameters, parameters as u64);
    assert_eq!(ours.settings, Some(snapshot.config));
    let first = ours
        .tensors
        .iter()
        .find(|tensor| tensor.name == "model.enc.16x16_conv.weight")
        .unwrap();
    assert_eq!(
        (first.shape.as_slice(), first.dtype.as_str()),
        (&[8, 5, 3, 3][..], "float32")
    );
}

#[test]
fn state_dictionaries_need_settings_and_may_have_prefixes() {
    let folder = Folder::new();
    let network = Network::new(&config(), Device::Cpu, 3).unwrap();
    for prefix in ["", "model.", "module.model.", "_orig_mod."] {
        let (object, storages) = state_dict(&network, prefix);
        let storages: Vec<(&str, &[f32])> = storages
            .iter()
            .map(|(key, elements)| (key.as_str(), elements.as_slice()))
            .collect();
        for file in [
            archive_of(&object, &storages),
            legacy_of(&object, &storages),
        ] {
            let path = folder.file("weights.pth", &file);
            let bytes = import(&path, None, Some(config())).unwrap();
            let again = load_network(&folder.file("x.safetensors", &bytes), Device::Cpu).unwrap();
            assert_eq!(weights(&again), weights(&network));
            assert!(matches!(
                import(&path, None, None),
                Err(NetworkError::SettingsMissing { .. })
            ));
            let summary = inspect(&path, None).unwrap();
            assert_eq!(
                (summary.format, summary.settings),
                (CheckpointFormat::StateDict, None)
            );
        }
    }
}

#[test]
fn safetensors_of_others_need_settings_and_ours_take_no_others() {
    let folder = Folder::new();
    let network = Network::new(&config(), Device::Cpu, 3).unwrap();
    let tensors: Vec<(String, Tensor)> = weights(&network).into_iter().collect();
    let theirs = folder.file(
        "theirs.safetensors",
        &to_safetensors_bytes(&tensors, &BTreeMap::new()).unwrap(),
    );
    assert!(matches!(
        import(&theirs, None, None),
        Err(NetworkError::SettingsMissing { .. })
    ));
    let bytes = import(&theirs, None, Some(config())).unwrap();
    let ours = folder.file("ours.safetensors", &bytes);
    assert!(matches!(
        import(&ours, None, Some(config())),
        Err(NetworkError::SettingsTwice { .. })
    ));
    assert!(matches!(
        import(&ours, Some("ema"), None),
        Err(NetworkError::NoEntry { .. })
    ));

    // Settings of another network: the file and what does not fit are named.
    let other = NetworkConfig {
        model_channels: 16,
        ..config()
    };
    let text = message(import(&theirs, None, Some(other)));
    assert!(
        text.contains("theirs.safetensors") && text.contains("map_layer0.weight"),
        "{text}"
    );
}

#[test]
fn settings_take_no_memory() {
    let folder = Folder::new();
    let empty = folder.file(
        "empty.safetensors",
        &to_safetensors_bytes(&[], &BTreeMap::new()).unwrap(),
    );
    // Terabytes, if it were built.
    let huge = NetworkConfig {
        model_channels: 1 << 14,
        num_blocks: 200,
        ..config()
    };
    let (result, bytes) = peak(|| import(&empty, None, Some(huge)));
    assert!(message(result).contains("missing `map_noise.freqs`"));
    assert!(bytes < 64 << 20, "{bytes}");
}

#[test]
fn an_export_has_the_published_names_and_comes_back() {
    let folder = Folder::new();
    let network = Network::new(&config(), Device::Cpu, 5).unwrap();
    let tensors: Vec<(String, Tensor)> = weights(&network).into_iter().collect();
    let file = folder.file(
        "plain.safetensors",
        &to_safetensors_bytes(&tensors, &BTreeMap::new()).unwrap(),
    );
    let ours = folder.file(
        "ours.safetensors",
        &import(&file, None, Some(config())).unwrap(),
    );
    for (element_type, kind) in [
        (ElementType::Float32, Kind::Float),
        (ElementType::Float16, Kind::Half),
        (ElementType::Bfloat16, Kind::BFloat16),
    ] {
        let bytes = export(&ours, None, element_type).unwrap();
        let path = folder.file("exported.safetensors", &bytes);
        let exported = read_safetensors(&path).unwrap();
        assert_eq!(exported.len(), tensors.len());
        for (name, tensor) in &tensors {
            let exported = &exported[&format!("model.{name}")];
            let buffer = name.ends_with(".resample_filter") || name == "map_noise.freqs";
            assert_eq!(
                exported.kind(),
                if buffer { Kind::Float } else { kind },
                "{name}"
            );
            assert_eq!(exported, &tensor.to_kind(exported.kind()), "{name}");
        }
        assert!(String::from_utf8_lossy(&bytes[..400]).contains(r#""format":"pt""#));
        let again = import(&path, None, None).unwrap();
        let again = load_network(&folder.file("again.safetensors", &again), Device::Cpu).unwrap();
        assert_eq!(again.config(), network.config());
    }

    let mut large = weights(&network);
    large.insert(
        "map_layer0.bias".to_owned(),
        Tensor::full([32], 1e6, (Kind::Float, Device::Cpu)),
    );
    let large: Vec<(String, Tensor)> = large.into_iter().collect();
    let file = folder.file(
        "large.safetensors",
        &to_safetensors_bytes(&large, &BTreeMap::new()).unwrap(),
    );
    let large = folder.file(
        "ours.safetensors",
        &import(&file, None, Some(config())).unwrap(),
    );
    let text = message(export(&large, None, ElementType::Float16));
    assert!(
        text.contains("model.map_layer0.bias") && text.contains("float16"),
        "{text}"
    );
    assert!(export(&large, None, ElementType::Bfloat16).is_ok());
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = Folder::new();
    let check = |bytes: &[u8], word: &str| {
        let path = folder.file("file", bytes);
        for text in [
            message(import(&path, None, None)),
            inspect(&path, None).unwrap_err().to_string(),
        ] {
            assert!(text.contains(word), "{text}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
        }
    };
    check(b"", "known format");
    check(b"a text", "known format");
    check(b"PK\x03\x04", "zip archive");
    check(&published()[..5000], "truncated");
    let ours = import(&published_path(), None, None).unwrap();
    check(&ours[..ours.len() - 1], "valid safetensors");
    check(&ours[..100], "known format");
    let missing = import(Path::new("no/such/file"), None, None);
    assert!(message(missing).contains("no/such/file"));
}

#[test]
fn settings_are_read_from_json() {
    let folder = Folder::new();
    let mut value = serde_json::to_value(config()).unwrap();
    let path = folder.file("settings.json", value.to_string().as_bytes());
    assert_eq!(read_config(&path).unwrap(), config());
    value["model_chanels"] = json!(3);
    let path = folder.file("settings.json", value.to_string().as_bytes());
    let text = read_config(&path).unwrap_err().to_string();
    assert!(
        text.contains("settings.json") && text.contains("model_chanels"),
        "{text}"
    );
}
