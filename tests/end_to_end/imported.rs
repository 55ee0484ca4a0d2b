//! Latents of other programs as the source of a pipeline: those of our own `encode`, written as others write theirs, then
//! trained on and sampled from; and what happens where the pipeline says something else of them than what they are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use patchwork_dataset::LatentSet;
use serde_json::json;

use crate::program::{Program, text, with, workspace};

const SMOKE: &str = "pipelines/smoke-latent.toml";

/// A pipeline of our own up to its samples, and what it encoded.
struct Encoded {
    program: Program,
    set: LatentSet,
}

impl Encoded {
    fn new() -> Self {
        let program = Program::new();
        program.succeed(&["run", SMOKE, "--until", "sample"]);
        let set = LatentSet::open(&program.artifact("encode")).unwrap();
        Self { program, set }
    }

    /// `[2, channels, height, width]` and what of the moments stands in the second half.
    fn write_npy(&self, folder: &Path, second_half: fn(f32) -> f32) {
        std::fs::create_dir_all(folder.join("00000")).unwrap();
        let mut labels = Vec::new();
        for image in 0..self.set.len() {
            let (mean, log_variance) = self.set.moments(image);
            let second = log_variance.into_iter().map(second_half);
            let values: Vec<u8> = mean
                .into_iter()
                .chain(second)
                .flat_map(f32::to_le_bytes)
                .collect();
            let spec = self.set.spec();
            let mut header = format!(
                "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}), }}",
                2 * spec.channels,
                spec.height,
                spec.width
            );
            // The data begins at a multiple of 64.
            let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
            let padding = length - header.len() - 1;
            writeln!(header, "{:padding$}", "").unwrap();
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((header.len() as u16).to_le_bytes());
            bytes.extend(header.into_bytes());
            bytes.extend(values);
            let name = format!("00000/img{image:08}.npy");
            std::fs::write(folder.join(&name), bytes).unwrap();
            labels.push(json!([name, 0]));
        }
        let labels = json!({ "labels": labels }).to_string();
        std::fs::write(folder.join("dataset.json"), labels).unwrap();
    }

    /// `latents` `[images, channels, height, width]`: the means alone.
    fn write_safetensors(&self, path: &Path) {
        let spec = self.set.spec();
        let means = (0..self.set.len()).flat_map(|image| self.set.moments(image).0);
        let data: Vec<u8> = means.flat_map(f32::to_le_bytes).collect();
        let header = json!({ "latents": {
            "dtype": "F32",
            "shape": [self.set.len(), spec.channels, spec.height, spec.width],
            "data_offsets": [0, data.len()],
        }})
        .to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.extend(data);
        std::fs::write(path, bytes).unwrap();
    }

    /// A pipeline that imports latents, trains on them and samples, as ours does.
    fn pipeline(&self, source: &Path, spread: &str) -> PathBuf {
        let ours = std::fs::read_to_string(workspace().join(SMOKE)).unwrap();
        let begin = ours.find("[stages.train]").unwrap();
        let end = ours.find("[stages.reconstruct]").unwrap();
        let autoencoder = self.program.artifact("encode").join("autoencoder");
        let pipeline = format!(
            "name = \"imported\"\n\
             [stages.encode]\n\
             autoencoder = {:?}\n\
             factor = {}\n\
             images_per_shard = 16\n\
             [stages.encode.import]\n\
             source = {:?}\n\
             spread = {spread:?}\n\
             {}",
            text(&autoencoder),
            self.set.spec().factor,
            text(source),
            &ours[begin..end]
        );
        let path = source.with_extension(format!("{spread}.toml"));
        std::fs::write(&path, pipeline).unwrap();
        path
    }

    /// Runs such a pipeline to its samples.
    fn import(&self, source: &Path, spread: &str) -> Program {
        let program = Program::new();
        let pipeline = self.pipeline(source, spread);
        // How the latents of our own are scaled.
        let scaling = "stages.train.scaling=\"per-channel\"";
        let rows = program.rows(&with(&["run", text(&pipeline)], &[scaling]));
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(rows.iter().all(|row| row["status"] == "succeeded"));
        program.succeed(&["dataset", "verify", text(&program.artifact("encode"))]);
        let samples = patchwork_dataset::ShardSet::open(&program.artifact("sample")).unwrap();
        assert_eq!(
            (samples.len(), samples.width(), samples.height()),
            (32, 32, 32)
        );
        program
    }

    /// What is said of a pipeline whose latents cannot be what it says.
    fn refused(&self, source: &Path, spread: &str) -> String {
        let program = Program::new();
        let output = program.run(&["run", text(&self.pipeline(source, spread))]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for kind in ["encode", "train"] {
            assert!(!program.home().join("artifacts").join(kind).exists());
        }
        said
    }
}

/// The bytes of a network's tensors, without the description before them.
fn tensors(program: &Program) -> Vec<u8> {
    let file = program.artifact("train").join("network.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let (length, rest) = bytes.split_at(8);
    rest[u64::from_le_bytes(length.try_into().unwrap()) as usize..].to_vec()
}

#[test]
fn latents_of_other_programs_are_trained_on_and_sampled_from() {
    let encoded = Encoded::new();
    let folder = tempfile::tempdir().unwrap();
    let [edm2, moments, lightning] =
        ["edm2", "moments", "lightning.safetensors"].map(|name| folder.path().join(name));
    encoded.write_npy(&edm2, |log_variance| (log_variance / 2.0).exp());
    encoded.write_npy(&moments, |log_variance| log_variance);
    encoded.write_safetensors(&lightning);

    // The moments themselves: the network and the samples of the pipeline that encoded.
    let same = encoded.import(&moments, "log-variance");
    assert!(
        tensors(&same) == tensors(&encoded.program),
        "another network"
    );
    let pixels = |program: &Program| {
        let samples = patchwork_dataset::ShardSet::open(&program.artifact("sample")).unwrap();
        (0..samples.len())
            .flat_map(|image| samples.pixels(image).to_vec())
            .collect::<Vec<u8>>()
    };
    assert!(pixels(&same) == pixels(&encoded.program), "other samples");

    // Standard deviations: the same but for the rounding of their logarithms.
    let deviations = encoded.import(&edm2, "std");
    let set = LatentSet::open(&deviations.artifact("encode")).unwrap();
    for image in 0..set.len() {
        let (mean, log_variance) = set.moments(image);
        let (expected_mean, expected) = encoded.set.moments(image);
        assert_eq!(mean, expected_mean);
        for (found, expected) in log_variance.iter().zip(&expected) {
            // Half-precision numbers below 32 lie 1/64 apart at most.
            assert!(
                (found - expected).abs() <= 1.0 / 64.0,
                "{found}, {expected}"
            );
        }
    }

    // One value a latent: its own mean.
    let means = encoded.import(&lightning, "none");
    let set = LatentSet::open(&means.artifact("encode")).unwrap();
    assert_eq!(set.len(), encoded.set.len());
    let (mean, log_variance) = set.moments(7);
    assert_eq!(mean, encoded.set.moments(7).0);
    assert!(log_variance.iter().all(|&value| value <= -30.0));

    // What the pipeline says is not what the files hold.
    for (source, spread, question) in [
        (&moments, "std", "are these log-variances?"),
        (&edm2, "log-variance", "are these standard deviations?"),
        (&edm2, "none", "spread"),
        (&lightning, "std", "spread"),
    ] {
        let said = encoded.refused(source, spread);
        assert!(said.contains(question), "{spread}: {said}");
    }
}
