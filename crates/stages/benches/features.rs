//! `just bench features`: images a second of the extractors on a device, as `reference` and `evaluate` call them.
//!
//! Inception-v3 has the shapes of a parity case and weights of no meaning; EfficientNet-Lite0 its own.
//!
//! `--device cpu|cuda|cuda:N`, `--images N`, `--parity DIR`, `--report FILE` for the measurements as JSON.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use patchwork_core::Digest;
use patchwork_metrics::Extractor;
use patchwork_metrics::efficientnet_lite0::EfficientNetLite0;
use patchwork_metrics::inception_v3::InceptionV3;
use patchwork_weights::{EFFICIENTNET_LITE0, Resize, weights_folder};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Images that an extractor is given at once, as the stages do.
const BATCH: i64 = 64;

/// The fastest of so many tries counts: what disturbs only slows.
const TRIES: usize = 3;

fn main() {
    support::run_as_a_worker();
    let (mut device, mut images, mut report) = (Device::Cpu, 256, None);
    let mut parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--device" => device = support::device(&value()),
            "--images" => images = value().parse().unwrap(),
            "--parity" => parity = value().into(),
            "--report" => report = Some(PathBuf::from(value())),
            // Cargo itself adds it.
            "--bench" => {}
            _ => panic!("`{word}` is not known; see the head of crates/stages/benches/features.rs"),
        }
    }
    tch::Cuda::cudnn_set_benchmark(true);
    let folder = weights_folder(std::env::var_os("PATCHWORK_WEIGHTS").map(PathBuf::from));
    let weights = EFFICIENTNET_LITE0.check(&folder).unwrap();
    let digest = Digest::of(b"no meaning");
    let inception =
        InceptionV3::from_tensors(no_meaning(&parity), digest, Resize::Torch, device).unwrap();
    let efficientnet = EfficientNetLite0::read(&weights.path, weights.digest, device).unwrap();
    let extractors: [(&str, &dyn Extractor); 2] = [
        ("inception-v3", &inception),
        ("efficientnet-lite0", &efficientnet),
    ];
    let mut rows = Vec::new();
    for (name, extractor) in extractors {
        let rate = rate(extractor, images, device);
        println!("{name}: {rate:.1} images/s in float32 on {device:?}");
        rows.push(json!({"extractor": name, "precision": "float32", "images_per_second": rate}));
    }
    if let Some(report) = report {
        std::fs::write(report, serde_json::to_vec(&rows).unwrap()).unwrap();
    }
}

fn rate(extractor: &dyn Extractor, images: i64, device: Device) -> f64 {
    let pixels = Tensor::randint(256, [images, 3, 64, 64], (Kind::Uint8, Device::Cpu));
    // The first of each shape warms up.
    let extract = || {
        for batch in pixels.split(BATCH, 0) {
            extractor.features(&batch).unwrap();
        }
        support::wait(device);
    };
    extract();
    let seconds = (0..TRIES).map(|_| {
        let begin = Instant::now();
        extract();
        begin.elapsed().as_secs_f64()
    });
    images as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Inception-v3's parameters by the names and shapes of a parity case, small numbers all.
fn no_meaning(parity: &Path) -> BTreeMap<String, Tensor> {
    let case = std::fs::read(parity.join("inception-v3-formula-weights/case.json")).unwrap();
    let mut case: Value = serde_json::from_slice(&case).unwrap();
    let parameters: Vec<(String, Vec<i64>)> =
        serde_json::from_value(case["parameters"].take()).unwrap();
    parameters
        .into_iter()
        .map(|(name, shape)| {
            let values = Tensor::rand(shape.as_slice(), (Kind::Float, Device::Cpu)) * 0.1 + 0.01;
            (name, values)
        })
        .collect()
}
