//! Pipelines in latent mode: which stage reads which, what follows from the autoencoder, and what is refused.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;

use patchwork_recipes::{Pipeline, StageSettings, load};
use patchwork_terms::{Kind, LatentScaling};

fn shipped(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    root.join(format!("{name}.toml"))
}

fn loaded(name: &str, overrides: &[&str]) -> Pipeline {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    let mut variants = load(&shipped(name), &overrides).unwrap_or_else(|error| panic!("{error}"));
    variants.remove(0).pipeline
}

fn refusal(name: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    load(&shipped(name), &overrides).unwrap_err().to_string()
}

fn needs<'a>(pipeline: &'a Pipeline, stage: &str) -> Vec<&'a str> {
    let needs = &pipeline.stage(stage).unwrap().needs;
    needs.iter().map(String::as_str).collect()
}

#[test]
fn stages_find_what_they_decode_with() {
    let own = loaded("smoke-latent", &[]);
    for (stage, expected) in [
        ("autoencoder", &["prepare"][..]),
        ("encode", &["prepare", "autoencoder"]),
        ("train", &["encode"]),
        ("sample", &["train", "encode"]),
        ("reconstruct", &["reference", "encode", "prepare"]),
        ("evaluate", &["reference", "sample", "reconstruct"]),
    ] {
        assert_eq!(needs(&own, stage), expected, "{stage}");
    }
    // Nobody has to name what follows, and who names it says the same.
    for (typed, expected) in [
        ("[\"train\"]", &["train", "encode"]),
        ("[\"encode\", \"train\"]", &["encode", "train"]),
    ] {
        let set = format!("stages.sample.needs={typed}");
        assert_eq!(needs(&loaded("smoke-latent", &[&set]), "sample"), expected);
    }
    // Pixels of the same pipeline are read by who asks for them.
    let of_pixels = [
        "stages.train.needs=[\"prepare\"]",
        "stages.train.network.attn_resolutions=[16]",
    ];
    let pixels = loaded("smoke-latent", &of_pixels);
    assert_eq!(needs(&pixels, "sample"), ["train"]);
    let StageSettings::Train(train) = &pixels.stage("train").unwrap().settings else {
        panic!()
    };
    assert_eq!(train.scaling, None);

    let published = loaded("lsun-church-256", &[]);
    assert_eq!(needs(&published, "encode"), ["prepare"]);
    assert!(
        published
            .stages
            .iter()
            .all(|stage| stage.kind() != Kind::Autoencoder)
    );
}

#[test]
fn factor_and_scaling_follow_from_the_autoencoder() {
    let of = |name: &str, overrides: &[&str]| {
        let pipeline = loaded(name, overrides);
        let settings = |stage: &str| pipeline.stage(stage).unwrap().settings.clone();
        match (settings("encode"), settings("train")) {
            (StageSettings::Encode(encode), StageSettings::Train(train)) => {
                (encode.factor, train.scaling)
            }
            other => panic!("{other:?}"),
        }
    };
    let (per_channel, sd) = (Some(LatentScaling::PerChannel), Some(LatentScaling::Sd));
    assert_eq!(of("smoke-latent", &[]), (2, per_channel));
    let levels = ["stages.autoencoder.block_out_channels=[8, 8, 8]"];
    assert_eq!(of("smoke-latent", &levels), (4, per_channel));
    assert_eq!(of("lsun-church-256", &[]), (8, sd));
    let named = [
        "stages.encode.autoencoder=\"models/own\"",
        "stages.encode.factor=4",
    ];
    assert_eq!(of("smoke-latent", &named), (4, sd));
    // The published settings, as the paper has them.
    let pipeline = loaded("imagenet-256", &[]);
    let StageSettings::Train(train) = &pipeline.stage("train").unwrap().settings else {
        panic!()
    };
    assert_eq!(
        (train.label_dropout.to_string(), train.class_conditional),
        ("0.1".to_owned(), true)
    );
}

#[test]
fn imported_latents_read_no_images_and_take_their_settings_as_typed() {
    let import = [
        "stages.encode.autoencoder=\"sd-vae-ft-ema\"",
        "stages.encode.import={source = \"data/latents\", spread = \"std\"}",
    ];
    let pipeline = loaded("lsun-church-256", &import);
    assert!(needs(&pipeline, "encode").is_empty());
    assert_eq!(needs(&pipeline, "sample"), ["train", "encode"]);
    assert_eq!(
        needs(&pipeline, "reconstruct"),
        ["reference", "encode", "prepare"]
    );
    let refused = refusal(
        "lsun-church-256",
        &["stages.encode.import={source = \"data/latents\"}"],
    );
    assert!(refused.contains("spread"), "{refused}");
}

#[test]
fn what_cannot_be_is_refused_by_its_key() {
    for (name, overrides, expected) in [
        (
            "lsun-church-256",
            &["stages.prepare.resolution=252"][..],
            "`factor` in [stages.encode] is 8, which does not divide the side 252",
        ),
        (
            "smoke-latent",
            &["stages.sample.autoencoder=\"sd-vae-ft-mse\""],
            "samples and to reconstructions of different decoders",
        ),
        (
            "smoke-latent",
            &["stages.autoencoder.norm_num_groups=3"],
            "`norm_num_groups` in [stages.autoencoder] is 3, which does not divide",
        ),
        (
            "smoke-latent",
            &["stages.autoencoder.block_out_channels=[8, 8, 8, 8, 8, 8, 8]"],
            "has 7 levels",
        ),
        (
            "smoke-latent",
            &["stages.autoencoder.crop=64"],
            "does not fit into images of 32 x 32 pixels",
        ),
        (
            "smoke",
            &["stages.sample.autoencoder=\"sd-vae-ft-ema\""],
            "`autoencoder` in [stages.sample] decodes latents, and the network was trained on pixels",
        ),
        (
            "smoke-latent",
            &[
                "stages.train.full_image_ratio=0.5",
                "stages.train.network.channel_mult=[1, 1, 1, 1, 1]",
            ],
            "latents of 16 x 16",
        ),
    ] {
        let refused = refusal(name, overrides);
        assert!(
            refused.contains(expected),
            "\n got: {refused}\nwant: {expected}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    let text = "name = \"p\"\n[stages.prepare]\nsource = \"builtin:twemoji\"\nresolution = 32\n[stages.encode]\n";
    std::fs::write(&path, text).unwrap();
    let refused = load(&path, &[]).unwrap_err().to_string();
    let expected = "a stage of kind `encode` reads one of kind `autoencoder`, and this pipeline has none; add one, or set \
                    `autoencoder`";
    assert!(refused.contains(expected), "{refused}");
}
