//! Latent mode: an autoencoder of one's own, latents, a network on them, images; killed in each of its stages.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, children, differences, kill, text, with};

const SMOKE: &str = "pipelines/smoke-latent.toml";

/// Durable points in quick succession.
pub(crate) const RUN: &[&str] = &[
    "run",
    SMOKE,
    "--set",
    "stages.autoencoder.checkpoint_minutes=0.002",
    "--set",
    "stages.train.checkpoint_minutes=0.002",
    // What is decoded on the way.
    "--set",
    "stages.train.snapshot_images=[300]",
    "--set",
    "stages.train.snapshot_evaluation={samples = 8, steps = 2, reference_images = 24, batch_size = 8}",
];

fn manifest(artifact: &Path) -> Value {
    let text = std::fs::read_to_string(artifact.join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The side of the images of a data set, and what they are of.
fn images(program: &Program, kind: &str) -> (usize, usize, usize) {
    let set = patchwork_dataset::ShardSet::open(&program.artifact(kind)).unwrap();
    (set.width(), set.height(), set.channels().count())
}

#[test]
fn the_latent_pipeline_runs_is_cached_and_has_its_floor() {
    let program = Program::new();
    let first = program.rows(&["run", SMOKE]);
    assert_eq!(first.len(), 8);
    assert!(
        first.iter().all(|row| row["status"] == "succeeded"),
        "{first:?}"
    );
    let second = program.rows(&["run", SMOKE]);
    assert!(
        second.iter().all(|row| row["status"] == "cached"),
        "{second:?}"
    );

    let (autoencoder, encoded) = (program.artifact("autoencoder"), program.artifact("encode"));
    for file in ["reconstructions.png", "config.json"] {
        assert!(autoencoder.join(file).is_file(), "{file}");
    }
    let weights = "diffusion_pytorch_model.safetensors";
    let of = |path: PathBuf| std::fs::read(path).unwrap();
    assert!(of(autoencoder.join(weights)) == of(encoded.join("autoencoder").join(weights)));
    let summary = manifest(&encoded);
    assert_eq!(summary["summary"]["pixel_range"], "-1..1");
    assert_eq!(summary["summary"]["factor"], 2);
    assert_eq!(summary["summary"]["encoder"].as_str().unwrap().len(), 64);
    assert_eq!(images(&program, "sample"), (32, 32, 3));
    program.succeed(&["dataset", "verify", text(&encoded)]);

    let scores = program.rows(&[
        "query",
        "SELECT subject, value FROM fid_history WHERE run = 'smoke-latent-1'",
    ]);
    let value = |subject: &str| {
        let row = scores.iter().find(|row| row["subject"] == subject);
        row.unwrap_or_else(|| panic!("{subject}: {scores:?}"))["value"]
            .as_f64()
            .unwrap()
    };
    assert!(value("reconstructions") < value("noise"), "{scores:?}");
    assert!(
        value("real-halves") < value("reconstructions"),
        "{scores:?}"
    );
    let measured = program.rows(&[
        "query",
        "SELECT MAX(value) AS psnr FROM metrics WHERE run = 'smoke-latent-1' AND name = 'psnr'",
    ]);
    let psnr = measured[0]["psnr"].as_f64().unwrap();
    assert_eq!(manifest(&autoencoder)["summary"]["psnr"], psnr);
    assert!(psnr > 10.0, "{psnr}");
}

/// The settings by which another autoencoder decodes.
fn decoder(folder: &Path) -> [String; 2] {
    ["sample", "reconstruct"].map(|stage| format!("stages.{stage}.autoencoder={:?}", text(folder)))
}

#[test]
fn another_decoder_changes_the_samples_alone_and_another_encoder_is_refused() {
    let program = Program::new();
    let until = ["run", SMOKE, "--until", "sample"];
    program.succeed(&until);
    let own = program.artifact("encode").join("autoencoder");
    let before = std::fs::read(program.artifact("sample").join("shard-00000.parquet")).unwrap();

    // The same files by name: the same images, and nothing else is computed again.
    let set = decoder(&own);
    let rows = program.rows(&with(&until, &[&set[0], &set[1]]));
    let cached = rows.iter().filter(|row| row["status"] == "cached").count();
    assert_eq!((rows.len(), cached), (5, 4), "{rows:?}");
    let shards: Vec<Vec<u8>> = std::fs::read_dir(program.home().join("artifacts/sample"))
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path().join("shard-00000.parquet")).unwrap())
        .collect();
    assert!(shards.len() == 2 && shards.iter().all(|shard| *shard == before));

    // Without the pipeline, from the network's artifact and from its file.
    let network = program.artifact("train");
    let out = program.home().join("drawn");
    let seeds = [
        "--seeds",
        "0-7",
        "--steps",
        "4",
        "--set",
        "images_per_shard=8",
    ];
    program.succeed(&[&["sample", text(&network), "--out", text(&out)], &seeds[..]].concat());
    assert!(std::fs::read(out.join("shard-00000.parquet")).unwrap() == before);
    let file = network.join("network.safetensors");
    let unused = program.home().join("unused");
    let lone = ["sample", text(&file), "--out", text(&unused)];
    let output = program.run(&[&lone, &seeds[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("`autoencoder`"),
        "{said}"
    );

    // An autoencoder of another seed has another encoder.
    let other = Program::new();
    other.succeed(&["run", SMOKE, "--until", "autoencoder", "--set", "seed=1"]);
    let set = decoder(&other.artifact("autoencoder"));
    let output = program.run(&with(&until, &[&set[0], &set[1]]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("encoder"),
        "{said}"
    );
}

#[test]
fn what_is_not_defined_on_latents_is_refused_with_its_reason() {
    let program = Program::new();
    for (setting, key, reason) in [
        (
            "stages.train.augment_probability=0.1",
            "augment_probability",
            "warped",
        ),
        (
            "stages.train.mirror_probability=0.5",
            "mirror_probability",
            "mirrored",
        ),
        (
            "stages.sample.region={side = 16}",
            "region",
            "trained on latents",
        ),
        ("stages.encode.factor=8", "factor", "has 2"),
        (
            "stages.encode.pixel_range=\"0..1\"",
            "pixel_range",
            "train on pixels in -1..1",
        ),
        (
            "stages.train.network.channel_mult=[1, 2, 2, 2, 2]",
            "channel_mult",
            "latents of 16 x 16",
        ),
        ("stages.autoencoder.crop=31", "crop", "multiples of 2"),
    ] {
        let output = program.run(&["run", SMOKE, "--dry-run", "--set", setting]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{setting}: {said}");
        assert!(
            said.contains(key) && said.contains(reason),
            "{setting}: {said}"
        );
    }
    let output = program.run(&[
        "run",
        "pipelines/smoke.toml",
        "--dry-run",
        "--set",
        "stages.train.scaling=\"sd\"",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && said.contains("is for latents"),
        "{said}"
    );
}

/// Files below a folder whose names satisfy a condition, while they come and go.
fn is_any(folder: &Path, condition: &dyn Fn(&str) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            is_any(&path, condition)
        } else {
            condition(&entry.file_name().to_string_lossy())
        }
    })
}

/// A stage, that before it, and what lies in the work folder when it is on its way.
type Condition<'a> = (&'a str, &'a str, &'a dyn Fn(&str) -> bool);

#[test]
fn killed_in_each_of_its_stages_the_latent_pipeline_ends_with_the_same_bytes() {
    let undisturbed = Program::new();
    undisturbed.succeed(RUN);
    let killed = Program::new();
    let home = killed.home().to_owned();
    let is_done = |kind: &str| home.join("artifacts").join(kind).is_dir();
    let stages: [Condition<'_>; 5] = [
        ("prepare", "autoencoder", &|name| {
            name.starts_with("checkpoint-")
        }),
        ("autoencoder", "encode", &|name| {
            name == "shard-00001.parquet"
        }),
        ("autoencoder", "encode", &|name| {
            name == "shard-00003.parquet"
        }),
        ("encode", "train", &|name| name.starts_with("checkpoint-")),
        ("train", "sample", &|name| name == "shard-00001.parquet"),
    ];
    for (before, stage, condition) in stages {
        let mut child = killed.start(RUN);
        let begin = Instant::now();
        while !(is_done(before) && is_any(&home.join("work"), condition)) {
            assert!(!is_done(stage), "`{stage}` was not caught");
            assert!(begin.elapsed() < Duration::from_mins(3), "nothing happens");
            std::thread::sleep(Duration::from_millis(1));
        }
        let workers = children(child.id());
        child.kill().unwrap();
        for worker in &workers {
            kill(worker);
        }
        child.wait().unwrap();
    }
    killed.succeed(RUN);
    assert_eq!(
        differences(&undisturbed.artifacts(), &killed.artifacts()),
        Vec::<PathBuf>::new()
    );
}
