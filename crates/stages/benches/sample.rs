//! `just bench sample`: images a second of the sampler, against the bare evaluations of its network.
//!
//! The baseline is the network alone on a ready batch, as often as the sampler evaluates it; the sampler is the way of
//! a sample stage, from seeds to a written shard. What lies between them is the sampler's own.
//!
//! `--device cpu|cuda|cuda:N`, `--network demo|reference|celeba`, `--batch N`, `--steps N`, `--report FILE` for the measurements
//! as JSON; two threads on the processor.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends with the reason"
)]

#[path = "support/networks.rs"]
mod networks;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use patchwork_dataset::{Channels, Row, ShardSetWriter, ShardSpec};
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_networks::Network;
use patchwork_stages::ImageSampler;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// A network, and how much of it is timed.
struct Case {
    network: String,
    batch: u64,
    /// Of the sampler; Heun evaluates the network twice a step, once in the last.
    steps: usize,
}

/// The fastest of so many tries counts: what disturbs only slows.
const TRIES: usize = 3;

fn main() {
    support::run_as_a_worker();
    let mut device = Device::Cpu;
    let (mut network, mut batch, mut steps) = (None, None, None);
    let mut report = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word.as_str() {
            "--device" => device = support::device(&value()),
            "--network" => network = Some(value()),
            "--batch" => batch = Some(value().parse().unwrap()),
            "--steps" => steps = Some(value().parse().unwrap()),
            "--report" => report = Some(PathBuf::from(value())),
            // Cargo itself adds it.
            "--bench" => {}
            _ => panic!("`{word}` is not known; see the head of crates/stages/benches/sample.rs"),
        }
    }
    tch::set_num_threads(2);
    tch::Cuda::cudnn_set_benchmark(true);
    println!(
        "{:<20} {:<9} {:>7} {:>12} {:>12} {:>9}",
        "network", "precision", "batch", "forward", "sampler", "overhead"
    );
    let names = network.map_or_else(
        || vec!["demo".to_owned(), "reference".to_owned()],
        |name| vec![name],
    );
    let mut rows = Vec::new();
    for network in names {
        let (usual_batch, usual_steps) = if network == "demo" { (64, 10) } else { (8, 4) };
        let case = Case {
            network,
            batch: batch.unwrap_or(usual_batch),
            steps: steps.unwrap_or(usual_steps),
        };
        for precision in [Kind::Float, Kind::BFloat16] {
            rows.push(measure(&case, precision, device));
        }
    }
    if let Some(report) = report {
        std::fs::write(report, serde_json::to_vec(&rows).unwrap()).unwrap();
    }
}

fn measure(case: &Case, precision: Kind, device: Device) -> Value {
    let config = networks::network(&case.network);
    let network = Network::new(&config, device, 0).unwrap();
    let evaluations = 2 * case.steps - 1;
    let bare = network.to_kind_copy(precision);
    let x = Tensor::randn(
        [case.batch as i64, 5, config.height(), config.width()],
        (Kind::Float, device),
    );
    let noise = Tensor::randn([case.batch as i64], (Kind::Float, device));
    let forward = rate(case, || {
        tch::no_grad(|| {
            for _ in 0..evaluations {
                let _ = bare.forward(&x, &noise, None, None, precision, None);
            }
        });
        support::wait(device);
    });
    let options = SamplerOptions::Heun(HeunOptions {
        levels: NoiseLevels {
            num_steps: case.steps,
            ..NoiseLevels::default()
        },
        ..HeunOptions::default()
    });
    let sampler = ImageSampler::new(&network, precision, None, options, device);
    let folder = tempfile::tempdir().unwrap();
    let seeds: Vec<u64> = (0..case.batch).collect();
    let mut number = 0;
    let sampled = rate(case, || {
        number += 1;
        write(&sampler, &seeds, &folder.path().join(number.to_string()));
    });
    println!(
        "{:<20} {:<9} {:>7} {forward:>8.2} im/s {sampled:>8.2} im/s {:>7.1} %",
        case.network,
        format!("{precision:?}"),
        case.batch,
        100.0 * (forward / sampled - 1.0)
    );
    json!({
        "network": case.network,
        "precision": format!("{precision:?}"),
        "images": case.batch,
        "steps": case.steps,
        "images_per_second": sampled,
        "forward_images_per_second": forward,
    })
}

/// Images a second.
fn rate(case: &Case, mut batch: impl FnMut()) -> f64 {
    batch();
    let seconds = (0..TRIES).map(|_| {
        let begin = Instant::now();
        batch();
        begin.elapsed().as_secs_f64()
    });
    case.batch as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// One shard of the seeds' images.
fn write(sampler: &ImageSampler, seeds: &[u64], folder: &std::path::Path) {
    let side = sampler.width();
    let spec = ShardSpec {
        width: side,
        height: side,
        channels: Channels::Rgb,
        images_per_shard: seeds.len(),
        class_names: Vec::new(),
        metadata: BTreeMap::new(),
    };
    let images = sampler.draw(seeds, None).unwrap();
    let images = images.permute([0, 2, 3, 1]).contiguous();
    let bytes = Vec::<u8>::try_from(images.flatten(0, -1)).unwrap();
    let row = |(seed, pixels): (&u64, &[u8])| Row {
        key: seed.to_string(),
        label: None,
        pixels: pixels.to_vec(),
        source_width: side as u16,
        source_height: side as u16,
    };
    let rows = seeds.iter().zip(bytes.chunks_exact(side * side * 3));
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer
        .write_shard(rows.map(row).collect(), Vec::new())
        .unwrap();
    writer.finish().unwrap();
}
