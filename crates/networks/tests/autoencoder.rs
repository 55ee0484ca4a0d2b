//! The KL autoencoder beyond its parity cases: files as diffusers, PyTorch and CompVis write them, refusals, sizes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_networks::NetworkError;
use patchwork_networks::autoencoder::{
    Autoencoder, AutoencoderConfig, AutoencoderFile, ConfigOrigin, Part, Tiling,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// One autoencoder of PyTorch's first weights in the files that diffusers 0.42.1 and `torch.save` wrote of it.
fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/autoencoder")
        .join(file)
}

fn open(file: &str, config: Option<&str>) -> AutoencoderFile {
    let config = config.map(fixture);
    AutoencoderFile::open(&fixture(file), config.as_deref(), Device::Cpu)
        .expect("the fixture can be read")
}

fn tensors(autoencoder: &Autoencoder) -> BTreeMap<String, Tensor> {
    autoencoder
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.name, parameter.tensor))
        .collect()
}

/// Three levels: a factor of 4.
fn small() -> AutoencoderConfig {
    AutoencoderConfig {
        block_out_channels: vec![8, 16, 16],
        norm_num_groups: 4,
        ..AutoencoderConfig::default()
    }
}

fn smooth(count: i64, channels: i64, height: i64, width: i64) -> Tensor {
    let numbers = Tensor::arange(
        count * channels * height * width,
        (Kind::Float, Device::Cpu),
    );
    (numbers * 0.37)
        .sin()
        .reshape([count, channels, height, width])
}

#[test]
fn every_naming_scheme_gives_the_same_autoencoder() {
    let today = open("diffusers", None);
    let config = fixture("diffusers/config.json");
    assert_eq!(today.config_origin, ConfigOrigin::File(config));
    let expected = tensors(&today.autoencoder);
    let count: usize = expected.values().map(Tensor::numel).sum();
    assert_eq!((expected.len(), count), (152, 16_093));
    let settings = Some("diffusers/config.json");
    for (file, settings, tolerance) in [
        ("diffusers/diffusion_pytorch_model.safetensors", None, 0.0),
        ("diffusers-2022", None, 0.0),
        ("full.ckpt", settings, 0.0),
        ("compvis-float16.safetensors", settings, 1e-3),
    ] {
        let other = open(file, settings);
        let found = tensors(&other.autoencoder);
        assert_eq!(other.autoencoder.config(), today.autoencoder.config());
        assert!(found.keys().eq(expected.keys()), "{file}");
        for (name, tensor) in &found {
            assert_eq!(tensor.kind(), Kind::Float, "{file}: {name}");
            let difference = (tensor - &expected[name]).abs().max().double_value(&[]);
            assert!(difference <= tolerance, "{file}: {name}: {difference}");
        }
        for part in [Part::Encoder, Part::Decoder] {
            let [ours, theirs] =
                [&today, &other].map(|file| file.autoencoder.digest(part).unwrap());
            assert_eq!(ours == theirs, tolerance == 0.0, "{file}: {part:?}");
        }
    }
}

#[test]
fn files_without_an_autoencoder_are_refused() {
    let refused = |path: &Path| {
        let error = AutoencoderFile::open(path, None, Device::Cpu).unwrap_err();
        error.to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(refused(folder.path()).contains("neither it nor its folder `vae` has `config.json`"));
    let file = folder.path().join("weights.safetensors");
    std::fs::write(&file, "neither").unwrap();
    assert!(refused(&file).contains("known format"));
    assert!(refused(&folder.path().join("none")).contains("none"));
    let denoiser = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/parity/denoiser-ddpmpp/tensors.safetensors");
    assert!(refused(&denoiser).contains("`encoder.conv_in.weight` is missing"));
    // Without a `config.json` there is no telling 2 groups from others.
    assert!(refused(&fixture("full.ckpt")).contains("name a `config.json`"));
    // Weights that are not those of the settings.
    let config = folder.path().join("config.json");
    std::fs::write(&config, json!({"block_out_channels": [32, 32]}).to_string()).unwrap();
    let error = AutoencoderFile::open(&fixture("full.ckpt"), Some(&config), Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("full.ckpt") && error.contains("instead of"),
        "{error}"
    );
}

#[test]
fn settings_that_are_not_implemented_are_refused_by_key_and_value() {
    let given = |key: &str, value: &Value| {
        let mut settings = small().to_json();
        settings[key] = value.clone();
        if key == "block_out_channels" {
            for kinds in ["down_block_types", "up_block_types"] {
                settings[kinds] = Value::Null;
            }
        }
        AutoencoderConfig::from_json(&settings)
    };
    for (key, value) in [
        ("act_fn", json!("gelu")),
        ("_class_name", json!("AutoencoderTiny")),
        ("latents_mean", json!([0.5, 0.1, 0.0, 1.0])),
        ("some_new_switch", json!(true)),
        ("norm_num_groups", json!(3)),
        ("block_out_channels", json!([])),
        ("block_out_channels", json!([8, 18, 16])),
        ("block_out_channels", json!("8")),
        ("down_block_types", json!(["DownEncoderBlock2D"])),
        ("layers_per_block", json!(0)),
        ("scaling_factor", json!(-1.0)),
        ("use_quant_conv", json!("yes")),
    ] {
        match given(key, &value) {
            Err(NetworkError::Autoencoder {
                key: found,
                value: said,
                ..
            }) => {
                // The error names the number of groups as a rule of the channels.
                let about = if key == "norm_num_groups" {
                    "block_out_channels"
                } else {
                    key
                };
                assert_eq!(found, about);
                let expected = value.to_string();
                assert!(about != key || said == expected, "{said}");
            }
            other => panic!("{key} = {value}: {other:?}"),
        }
    }
    let attention = json!([
        "DownEncoderBlock2D",
        "AttnDownEncoderBlock2D",
        "DownEncoderBlock2D"
    ]);
    let error = given("down_block_types", &attention)
        .unwrap_err()
        .to_string();
    assert!(error.contains("AttnDownEncoderBlock2D"), "{error}");
    for (key, value) in [
        ("latents_std", Value::Null),
        ("force_upcast", json!(false)),
        ("_diffusers_version", json!("0.4.2")),
    ] {
        assert_eq!(given(key, &value).unwrap(), small(), "{key}");
    }
    assert_eq!(
        AutoencoderConfig::from_json(&json!({})).unwrap(),
        AutoencoderConfig::default()
    );
}

#[test]
fn written_folders_are_read_and_shapes_tell_the_settings() {
    let config = AutoencoderConfig {
        block_out_channels: vec![32, 64],
        layers_per_block: 2,
        latent_channels: 5,
        use_post_quant_conv: false,
        ..AutoencoderConfig::default()
    };
    let autoencoder = Autoencoder::new(&config, Device::Cpu, 4).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in autoencoder
        .to_diffusers_files(autoencoder.config())
        .unwrap()
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let whole = AutoencoderFile::open(folder.path(), None, Device::Cpu).unwrap();
    assert_eq!(whole.autoencoder.config(), &config);
    let alone = folder.path().join("mine.safetensors");
    std::fs::rename(&whole.weights, &alone).unwrap();
    let alone = AutoencoderFile::open(&alone, None, Device::Cpu).unwrap();
    assert_eq!(alone.config_origin, ConfigOrigin::Shapes);
    assert_eq!(alone.autoencoder.config(), &config);
    for found in [&whole, &alone] {
        for (name, tensor) in tensors(&found.autoencoder) {
            assert!(tensor.equal(&tensors(&autoencoder)[&name]), "{name}");
        }
    }
}

#[test]
fn stable_diffusions_autoencoder_has_its_tensors() {
    let config = AutoencoderConfig::stable_diffusion();
    let autoencoder = Autoencoder::new(&config, Device::Cpu, 0).unwrap();
    let tensors = tensors(&autoencoder);
    let count = |prefix: &str| {
        let under = tensors.iter().filter(|(name, _)| name.starts_with(prefix));
        under.map(|(_, tensor)| tensor.numel()).sum::<usize>()
    };
    assert_eq!((tensors.len(), count("")), (248, 83_653_863));
    let parts = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].map(count);
    assert_eq!(parts, [34_163_592, 49_490_179, 72, 20]);
    assert_eq!(config.factor(), 8);
}

#[test]
fn sizes_that_would_be_cut_are_refused() {
    let autoencoder = Autoencoder::new(&small(), Device::Cpu, 0).unwrap();
    for (height, width) in [(31, 32), (32, 34), (2, 32)] {
        let refused = autoencoder.encode(&smooth(1, 3, height, width));
        assert!(
            matches!(refused, Err(NetworkError::ImageSize { multiple: 4, .. })),
            "{height} x {width}"
        );
    }
    let posterior = autoencoder.encode(&smooth(1, 3, 32, 12)).unwrap();
    assert_eq!(posterior.mean.size(), [1, 4, 8, 3]);
    assert_eq!(autoencoder.decode(&posterior.mean).size(), [1, 3, 32, 12]);
}

#[test]
fn an_image_does_not_depend_on_those_beside_it() {
    let autoencoder = Autoencoder::new(&small(), Device::Cpu, 1).unwrap();
    let images = smooth(5, 3, 32, 32);
    let together = autoencoder.encode_batches(&images, 5).unwrap();
    let decoded = autoencoder.decode_batches(&together.mean, 5);
    for at_once in [1, 2] {
        let apart = autoencoder.encode_batches(&images, at_once).unwrap();
        assert!(apart.mean.equal(&together.mean), "{at_once}");
        assert!(
            apart.log_variance.equal(&together.log_variance),
            "{at_once}"
        );
        assert!(
            autoencoder
                .decode_batches(&apart.mean, at_once)
                .equal(&decoded),
            "{at_once}"
        );
    }
}

#[test]
fn tiles_come_near_the_whole_and_one_tile_is_it() {
    let autoencoder = Autoencoder::new(&small(), Device::Cpu, 1).unwrap();
    let latents = smooth(2, 4, 24, 12);
    let whole = autoencoder.decode_batches(&latents, 2);
    let tiled = |size, overlap| autoencoder.decode_tiled(&latents, Tiling { size, overlap });
    assert!(tiled(24, 8).equal(&whole));
    let difference = |tiled: &Tensor| ((tiled - &whole).norm() / whole.norm()).double_value(&[]);
    let parts = tiled(16, 8);
    assert_eq!(parts.size(), whole.size());
    let near = difference(&parts);
    assert!(near > 0.0 && near < 0.25, "{near}");
    // Without any overlap the seams show more.
    assert!(difference(&tiled(6, 0)) > near);
}

#[test]
fn gradients_reach_every_weight() {
    let autoencoder = Autoencoder::new(&small(), Device::Cpu, 2).unwrap();
    let posterior = autoencoder.encode(&smooth(1, 3, 16, 16)).unwrap();
    let latents = posterior.sample(&Tensor::ones_like(&posterior.mean));
    let loss = autoencoder.decode(&latents).square().sum(Kind::Float)
        + posterior.log_variance.square().sum(Kind::Float);
    loss.backward();
    for (name, tensor) in tensors(&autoencoder) {
        let gradient = tensor.grad();
        assert!(gradient.defined(), "{name}");
        // Softmax takes no notice of what all keys have in common.
        let largest = gradient.abs().max().double_value(&[]);
        assert!(
            largest > 0.0 || name.ends_with("to_k.bias"),
            "{name}: {largest}"
        );
    }
}
