//! Patches as recorded numbers, which `python/patchwork_torch` reads too: one fixture keeps both to the same order.

use std::path::{Path, PathBuf};

use patchwork_core::Seed;
use patchwork_dataset::latents::Draw;
use patchwork_dataset::{LatentSet, PatchRequest, PatchSize, PatchStream, ShardSet, Share};
use serde_json::{Value, json};

use super::{latents, write_set};

/// Set, the fixture is written rather than compared.
const WRITE: &str = "PATCHWORK_WRITE_PATCHES";

/// As a train stage derives it from the seed of its pipeline.
fn training_seed() -> Seed {
    Seed::new(7).derive("train")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/patches")
}

/// Patches of two epochs and more, with all values of the first ones.
fn record(
    stream: PatchStream,
    images: u64,
    size: PatchSize,
    gather: impl Fn(&[PatchRequest]) -> Vec<f32>,
) -> Value {
    let requests = stream.patches(0..2 * images + 5, Share::WHOLE, size);
    let values = gather(&requests[..3]);
    let places: Vec<Value> = (requests.iter())
        .map(|patch| json!([patch.index, patch.row, patch.column, patch.mirrored]))
        .collect();
    json!({"height": size.height, "width": size.width, "patches": places, "values": values})
}

fn pixels(set: &ShardSet) -> Value {
    let size = PatchSize {
        height: 5,
        width: 8,
    };
    let stream = PatchStream::new(set, training_seed(), 0.25);
    record(stream, set.len() as u64, size, |requests| {
        let mut values = vec![0.0; requests.len() * size.values(set.channels())];
        set.gather(requests, size, &mut values).unwrap();
        values
    })
}

fn latents(set: &LatentSet) -> Value {
    let size = PatchSize::square(4);
    let stream = PatchStream::of_latents(set, training_seed());
    let scaling = latents::sd(set);
    record(stream, set.len() as u64, size, |requests| {
        let count = requests.len() * set.spec().channels * size.height * size.width;
        let mut values = vec![0.0; count];
        let draw = Draw::Sample(training_seed().derive("latents"));
        set.gather(requests, size, &scaling, draw, &mut values)
            .unwrap();
        values
    })
}

#[test]
fn recorded_patches_do_not_change() {
    let folder = folder();
    let file = folder.join("patches.json");
    if std::env::var_os(WRITE).is_some() {
        write_set(&folder.join("pixels"), true);
        latents::write(&folder.join("latents"));
    }
    let pixel_set = ShardSet::open(&folder.join("pixels")).unwrap();
    let latent_set = LatentSet::open(&folder.join("latents")).unwrap();
    let found = json!({"pixels": pixels(&pixel_set), "latents": latents(&latent_set)});
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, format!("{found}\n")).unwrap();
    }
    let recorded: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for kind in ["pixels", "latents"] {
        let (found, recorded) = (&found[kind], &recorded[kind]);
        assert_eq!(found["patches"], recorded["patches"], "{kind}");
        let [found, recorded] = [found, recorded].map(|case| case["values"].as_array().unwrap());
        assert_eq!(found.len(), recorded.len());
        for (found, recorded) in found.iter().zip(recorded) {
            let difference = found.as_f64().unwrap() - recorded.as_f64().unwrap();
            // Logarithm and exponential are the platform's.
            assert!(difference.abs() < 1e-5, "{kind}: {found}, not {recorded}");
        }
    }
}
