//! What a network promises beyond the published numbers.

use std::collections::BTreeMap;

use patchwork_core::Seed;
use patchwork_networks::{Dropout, Gradients, Network, NetworkConfig, NetworkError};
use serde_json::json;
use tch::{Device, Kind, Tensor};

fn config(changes: &serde_json::Value) -> NetworkConfig {
    let mut settings = json!({
        "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
        "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 8, "channel_mult": [1, 2],
        "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1, "sigma_data": 0.5
    });
    for (key, value) in changes.as_object().expect("changes are a table") {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).expect("settings have the right keys")
}

fn run(network: &Network, height: i64, width: i64) -> Tensor {
    let channels = network.config().in_channels;
    let x = Tensor::randn([2, channels, height, width], (Kind::Float, Device::Cpu));
    network.forward(
        &x,
        &Tensor::from_slice(&[0.1f32, -0.3]),
        None,
        None,
        Kind::Float,
        Some(&Dropout::new(Seed::new(1))),
    )
}

/// Weights other than the first ones, which begin near zero at the end of each path.
fn scatter(network: &Network) {
    tch::no_grad(|| {
        for mut parameter in network.parameters() {
            let noise = Tensor::randn_like(&parameter.tensor) * 0.1;
            let _ = parameter.tensor.g_add_(&noise);
        }
    });
}

#[test]
fn contradictory_settings_are_refused_by_name() {
    let check = |changes: serde_json::Value, key: &str| match config(&changes).validate() {
        Err(NetworkError::Config { key: found, .. }) => assert_eq!(found, key, "{changes}"),
        other => panic!("{changes}: {other:?}"),
    };
    check(json!({"in_channels": 3}), "in_channels");
    check(json!({"out_channels": 4}), "out_channels");
    check(json!({"img_resolution": 15}), "img_resolution");
    check(json!({"img_size": [16, 16]}), "img_size");
    check(json!({"img_size": [24, 32]}), "img_size");
    check(json!({"img_size": [16, 23]}), "img_size");
    check(json!({"model_channels": 9}), "model_channels");
    check(json!({"model_channels": 2}), "model_channels");
    check(json!({"dropout": 1.0}), "dropout");
    check(json!({"channel_mult": []}), "channel_mult");
    check(json!({"resample_filter": [1, 2, 1]}), "resample_filter");
    check(json!({"arch": "adm"}), "channel_mult");
    check(
        json!({"arch": "adm", "model_channels": 64, "encoder_type": "skip"}),
        "encoder_type",
    );
    assert!(config(&json!({})).validate().is_ok());
    assert!(config(&json!({"img_size": [24, 16]})).validate().is_ok());
}

#[test]
fn every_variant_runs_at_sizes_of_its_own_and_reaches_every_parameter() {
    for changes in [
        json!({}),
        json!({"encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1]}),
        json!({"encoder_type": "skip", "decoder_type": "skip", "channel_mult": [1, 2, 2]}),
        json!({"arch": "ncsnpp", "embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2}),
        json!({"arch": "adm", "model_channels": 64, "channel_mult": [1, 2], "attn_resolutions": [16, 8]}),
        json!({"implicit_mlp": true, "position_channels": false, "in_channels": 3}),
    ] {
        let network = Network::new(&config(&changes), Device::Cpu, 3).unwrap();
        scatter(&network);
        let output = run(&network, 8, 16);
        assert_eq!(output.size(), [2, 3, 8, 16], "{changes}");
        output.square().sum(Kind::Float).backward();
        for parameter in network.parameters() {
            let gradient = parameter.tensor.grad();
            assert!(
                gradient.defined() && gradient.isfinite().all().int64_value(&[]) == 1,
                "{changes}: {}",
                parameter.name
            );
        }
    }
}

#[test]
fn weights_are_a_function_of_the_seed() {
    let weights = |seed| {
        let network = Network::new(&config(&json!({})), Device::Cpu, seed).unwrap();
        Tensor::cat(
            &network
                .parameters()
                .iter()
                .map(|each| each.tensor.flatten(0, -1))
                .collect::<Vec<_>>(),
            0,
        )
    };
    assert_eq!(weights(5), weights(5));
    assert_ne!(weights(5), weights(6));
}

#[test]
fn first_values_have_the_published_spread() {
    let check = |network: &Network, name: &str, bound: f64| {
        let found = network
            .parameters()
            .into_iter()
            .find(|each| each.name == name)
            .unwrap()
            .tensor;
        let largest = found.abs().max().double_value(&[]);
        assert!(
            largest <= bound * 1.0001 && largest >= bound * 0.9,
            "{name}: {largest} against {bound}"
        );
    };
    let song = Network::new(&config(&json!({"model_channels": 32})), Device::Cpu, 0).unwrap();
    let xavier = |inputs: f64, outputs: f64| (6.0 / (inputs + outputs)).sqrt();
    check(&song, "map_layer0.weight", xavier(32.0, 128.0));
    check(&song, "enc.16x16_block0.conv0.weight", xavier(288.0, 288.0));
    check(
        &song,
        "enc.16x16_block0.conv1.weight",
        xavier(288.0, 288.0) * 1e-5,
    );
    check(
        &song,
        "enc.8x8_block0.qkv.weight",
        xavier(64.0, 192.0) * 0.2f64.sqrt(),
    );
    check(&song, "enc.8x8_block0.qkv.bias", 0.0);
    let adm = Network::new(
        &config(&json!({"arch": "adm", "model_channels": 64, "label_dim": 9})),
        Device::Cpu,
        0,
    )
    .unwrap();
    check(&adm, "enc.16x16_block0.conv0.weight", 1.0 / 576.0f64.sqrt());
    check(&adm, "map_layer1.bias", 1.0 / 256.0f64.sqrt());
    check(&adm, "out_conv.weight", 0.0);
}

#[test]
fn external_weights_are_refused_with_their_names() {
    let network = Network::new(&config(&json!({})), Device::Cpu, 0).unwrap();
    let mut tensors: BTreeMap<String, Tensor> = network
        .named_tensors()
        .into_iter()
        .map(|each| (each.name, each.tensor))
        .collect();
    let first = tensors.remove("map_layer0.bias").unwrap();
    tensors.insert("elsewhere".to_owned(), first);
    tensors.insert(
        "map_layer1.bias".to_owned(),
        Tensor::zeros([3], (Kind::Float, Device::Cpu)),
    );
    match network.load(&tensors) {
        Err(NetworkError::Weights {
            missing,
            unexpected,
            misshapen,
        }) => {
            assert_eq!(missing, ["map_layer0.bias"]);
            assert_eq!(unexpected, ["elsewhere"]);
            assert_eq!(
                misshapen,
                [("map_layer1.bias".to_owned(), vec![32], vec![3])]
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn storage_moved_under_a_parameter_is_seen_by_the_next_forward() {
    let network = Network::new(&config(&json!({"dropout": 0.0})), Device::Cpu, 2).unwrap();
    let x = Tensor::randn([1, 5, 16, 16], (Kind::Float, Device::Cpu));
    let noise = Tensor::zeros([1], (Kind::Float, Device::Cpu));
    let before = network.forward(&x, &noise, None, None, Kind::Float, None);
    let mut last = network
        .parameters()
        .into_iter()
        .find(|each| each.name == "dec.16x16_aux_conv.bias")
        .unwrap();
    let flat = Tensor::full([3], 7.0, (Kind::Float, Device::Cpu));
    tch::no_grad(|| last.tensor.set_data(&flat));
    let after = network.forward(&x, &noise, None, None, Kind::Float, None);
    assert!(((after - before) - 7.0).abs().max().double_value(&[]) < 1e-4);
}

#[test]
fn features_in_bfloat16_leave_the_input_as_it_is() {
    // Around 1 bfloat16 knows steps of 2^-8 below and 2^-7 above: it would round all of this noise away.
    let noise = Tensor::rand([1, 5, 16, 16], (Kind::Float, Device::Cpu)) * 1e-3;
    let white = Tensor::ones([1, 5, 16, 16], (Kind::Float, Device::Cpu));
    let level = Tensor::from_slice(&[0.1f32]);
    for (arch, encoder) in [
        ("ddpmpp", "standard"),
        ("ncsnpp", "residual"),
        ("adm", "standard"),
    ] {
        let settings = config(
            &json!({"arch": arch, "encoder_type": encoder, "dropout": 0.0, "model_channels": 64}),
        );
        let network = Network::new(&settings, Device::Cpu, 5).unwrap();
        scatter(&network);
        for network in [
            network.to_kind_copy(Kind::BFloat16),
            network.to_training_copy(Kind::BFloat16, Gradients::Own),
        ] {
            let output = |x: &Tensor| {
                tch::no_grad(|| network.forward(x, &level, None, None, Kind::BFloat16, None))
            };
            assert_eq!(output(&white).kind(), Kind::BFloat16, "{arch}");
            assert_ne!(output(&white), output(&(&white + &noise)), "{arch}");
        }
    }
}
