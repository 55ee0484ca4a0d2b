//! From a published network's constructor arguments to our settings.

use patchwork_networks::pickle::parse_edm_snapshot;
use patchwork_networks::{Architecture, NetworkConfig};
use serde_json::{Value, json};

use crate::pickler::{published, snapshot};

fn settings(values: Value) -> NetworkConfig {
    serde_json::from_value(values).unwrap()
}

fn config_of(outer: &str, inner: &str, arguments: &Value) -> Result<NetworkConfig, String> {
    parse_edm_snapshot(&snapshot(outer, inner, arguments), "ema")
        .map(|snapshot| snapshot.config)
        .map_err(|problem| problem.to_string())
}

#[test]
fn the_published_snapshot_gives_every_setting() {
    let config = parse_edm_snapshot(&published(), "ema").unwrap().config;
    let expected = settings(json!({
        "arch": "ddpmpp",
        "img_resolution": 16,
        "img_channels": 3,
        "in_channels": 5,
        "out_channels": 3,
        "position_channels": true,
        "label_dim": 0,
        "augment_dim": 0,
        "model_channels": 8,
        "channel_mult": [1, 2],
        "channel_mult_noise": 1,
        "embedding_type": "positional",
        "encoder_type": "standard",
        "decoder_type": "standard",
        "resample_filter": [1, 1],
        "num_blocks": 1,
        "attn_resolutions": [8],
        "dropout": 0.05,
        "implicit_mlp": false,
        "sigma_data": 0.5,
    }));
    assert_eq!(config, expected);
}

#[test]
fn every_argument_arrives() {
    let arguments = json!({
        "img_resolution": 32, "in_channels": 5, "out_channels": 3, "label_dim": 10, "augment_dim": 9,
        "model_channels": 64, "channel_mult": [1, 2, 2], "channel_mult_emb": 4, "num_blocks": 3,
        "attn_resolutions": [16, 5], "dropout": 0.13, "label_dropout": 0.1, "embedding_type": "fourier",
        "channel_mult_noise": 2, "encoder_type": "residual", "decoder_type": "skip",
        "resample_filter": [1, 3, 3, 1], "implicit_mlp": true
    });
    let expected = settings(json!({
        "arch": "ncsnpp",
        "img_resolution": 32,
        "img_channels": 3,
        "in_channels": 5,
        "out_channels": 3,
        "position_channels": true,
        "label_dim": 10,
        "augment_dim": 9,
        "model_channels": 64,
        "channel_mult": [1, 2, 2],
        "channel_mult_noise": 2,
        "embedding_type": "fourier",
        "encoder_type": "residual",
        "decoder_type": "skip",
        "resample_filter": [1, 3, 3, 1],
        "num_blocks": 3,
        // No level has side 5: the published constructor passes over it.
        "attn_resolutions": [16],
        "dropout": 0.13,
        "implicit_mlp": true,
        "sigma_data": 0.25,
    }));
    assert_eq!(
        config_of("Patch_EDMPrecond", "SongUNet", &arguments).unwrap(),
        expected
    );
}

#[test]
fn what_is_left_out_has_the_published_default() {
    let arguments = json!({"img_resolution": 64, "in_channels": 3, "out_channels": 3});
    let song = config_of("EDMPrecond", "SongUNet", &arguments).unwrap();
    assert_eq!(song.arch, Architecture::Ddpmpp);
    assert_eq!((song.model_channels, song.num_blocks), (128, 4));
    assert_eq!(
        (song.channel_mult, song.attn_resolutions),
        (vec![1, 2, 2, 2], vec![16])
    );
    assert!(!song.position_channels);
    let adm = config_of("EDMPrecond", "DhariwalUNet", &arguments).unwrap();
    assert_eq!(adm.arch, Architecture::Adm);
    assert_eq!((adm.model_channels, adm.num_blocks), (192, 3));
    assert_eq!(
        (adm.channel_mult, adm.attn_resolutions),
        (vec![1, 2, 3, 4], vec![32, 16, 8])
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let check = |outer: &str, inner: &str, change: (&str, Value), word: &str| {
        let mut arguments = json!({"img_resolution": 32, "in_channels": 3, "out_channels": 3});
        arguments[change.0] = change.1;
        let message = config_of(outer, inner, &arguments).unwrap_err();
        assert!(message.contains(word), "{message}");
    };
    let nothing = ("dropout", json!(0.1));
    check("VPPrecond", "SongUNet", nothing.clone(), "VPPrecond");
    check("EDMPrecond", "EncoderUNet", nothing, "EncoderUNet");
    check("EDMPrecond", "SongUNet", ("flash", json!(1)), "flash");
    check(
        "EDMPrecond",
        "SongUNet",
        ("channel_mult_emb", json!(2)),
        "channel_mult_emb",
    );
    check(
        "EDMPrecond",
        "SongUNet",
        ("encoder_type", json!("other")),
        "encoder_type",
    );
    check(
        "EDMPrecond",
        "SongUNet",
        ("in_channels", json!(4)),
        "in_channels",
    );
    check(
        "EDMPrecond",
        "SongUNet",
        ("model_channels", json!(1 << 20)),
        "model_channels",
    );
    check(
        "EDMPrecond",
        "SongUNet",
        ("img_resolution", json!(30)),
        "img_resolution",
    );
}
