//! `just bench sample`: images a second of the sampler, against the bare evaluations of its network.
//!
//! The baseline is the network alone on a ready batch, as often as the sampler evaluates it; the sampler is the way of
//! a sample stage, from seeds to a written shard. What lies between them is the sampler's own.
//!
//! PyTorch's sampler on the same network (`python/benchmarks/sample.py`: the same evaluations, state in float64, without
//! writing) takes turns with ours; `of eager` and its like are how many times as fast ours is, the median of the ratios of
//! the turns. `--pytorch`, `--mode`: see `support/pytorch.rs`.
//!
//! `--device cpu|cuda|cuda:N`, `--network demo|reference|celeba`, `--precision float32|bfloat16`, `--batch N`, `--steps N`,
//! `--report FILE` for the measurements as JSON; two threads on the processor.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

#[path = "support/networks.rs"]
mod networks;
#[path = "support/pytorch.rs"]
mod pytorch;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use patchwork_dataset::{Channels, Row, ShardSetWriter, ShardSpec};
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_networks::Network;
use patchwork_stages::ImageSampler;
use pytorch::{PyTorch, median};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// A network, and how much of it is timed.
struct Case {
    network: String,
    batch: u64,
    /// Of the sampler; Heun evaluates the network twice a step, once in the last.
    steps: usize,
}

/// How often each has its turn.
const TURNS: usize = 5;

const THREADS: i32 = 2;

fn main() {
    support::run_as_a_worker();
    let mut device = Device::Cpu;
    let (mut network, mut batch, mut steps) = (None, None, None);
    let mut report = None;
    let mut precisions = Vec::new();
    let mut options = pytorch::Options::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        // Cargo itself adds it.
        if word == "--bench" {
            continue;
        }
        let value = words
            .next()
            .unwrap_or_else(|| panic!("`{word}` needs a value"));
        if options.take(&word, &value) {
            continue;
        }
        match word.as_str() {
            "--device" => device = support::device(&value),
            "--network" => network = Some(value),
            "--precision" => precisions.push(match value.as_str() {
                "float32" => Kind::Float,
                "bfloat16" => Kind::BFloat16,
                _ => panic!("precision `{value}` is not known"),
            }),
            "--batch" => batch = Some(value.parse().unwrap()),
            "--steps" => steps = Some(value.parse().unwrap()),
            "--report" => report = Some(PathBuf::from(value)),
            _ => panic!("`{word}` is not known; see the head of crates/stages/benches/sample.rs"),
        }
    }
    if precisions.is_empty() {
        precisions = vec![Kind::Float, Kind::BFloat16];
    }
    tch::set_num_threads(THREADS);
    tch::Cuda::cudnn_set_benchmark(true);
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
        let words = [
            ("--network", case.network.clone()),
            ("--threads", THREADS.to_string()),
            ("--batch", case.batch.to_string()),
            ("--steps", case.steps.to_string()),
        ];
        let mut pytorch = PyTorch::start(&options, "sample.py", device, &words);
        let modes = pytorch.as_ref().map_or(&[][..], |pytorch| &pytorch.modes);
        let beside: Vec<String> = modes
            .iter()
            .map(|mode| format!("{:>18}", format!("of {mode}")))
            .collect();
        let beside = beside.concat();
        println!(
            "{:<12} {:<9} {:>7} {:>13} {:>13} {:>9}{beside}",
            "network", "precision", "batch", "forward", "sampler", "overhead"
        );
        for &precision in &precisions {
            rows.push(measure(&case, precision, device, pytorch.as_mut()));
        }
    }
    if let Some(report) = report {
        std::fs::write(report, serde_json::to_vec(&rows).unwrap()).unwrap();
    }
}

fn measure(
    case: &Case,
    precision: Kind,
    device: Device,
    mut pytorch: Option<&mut PyTorch>,
) -> Value {
    let config = networks::network(&case.network);
    let network = Network::new(&config, device, 0).unwrap();
    let evaluations = 2 * case.steps - 1;
    let bare = network.to_kind_copy(precision);
    let x = Tensor::randn(
        [case.batch as i64, 5, config.height(), config.width()],
        (Kind::Float, device),
    );
    let noise = Tensor::randn([case.batch as i64], (Kind::Float, device));
    let mut forward = || {
        tch::no_grad(|| {
            for _ in 0..evaluations {
                let _ = bare.forward(&x, &noise, None, None, precision, None);
            }
        });
        support::wait(device);
    };
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
    let mut sampled = || {
        number += 1;
        write(&sampler, &seeds, &folder.path().join(number.to_string()));
    };
    let modes = pytorch
        .as_ref()
        .map_or(Vec::new(), |pytorch| pytorch.modes.clone());
    let mut peers: Vec<Result<Vec<f64>, String>> = modes.iter().map(|_| Ok(Vec::new())).collect();
    let (mut of_forward, mut of_sampler) = (Vec::new(), Vec::new());
    forward();
    sampled();
    for _ in 0..TURNS {
        of_forward.push(seconds(&mut forward));
        of_sampler.push(seconds(&mut sampled));
        for (mode, peer) in modes.iter().zip(&mut peers) {
            let (Some(pytorch), Ok(found)) = (&mut pytorch, &mut *peer) else {
                continue;
            };
            let precision = pytorch::precision(precision, false);
            match pytorch.ask(&json!({"mode": mode, "precision": precision})) {
                Ok(seconds) => found.push(seconds),
                Err(cause) => *peer = Err(cause),
            }
        }
    }
    let rate = |seconds: &[f64]| case.batch as f64 / median(seconds);
    let ratio = |theirs: &[f64]| {
        let pairs = theirs.iter().zip(&of_sampler);
        median(
            &pairs
                .map(|(theirs, ours)| theirs / ours)
                .collect::<Vec<_>>(),
        )
    };
    let beside: Vec<String> = (peers.iter())
        .map(|peer| match peer {
            Ok(theirs) => format!("{:>18.2}", ratio(theirs)),
            Err(_) => format!("{:>18}", "-"),
        })
        .collect();
    let beside = beside.concat();
    println!(
        "{:<12} {:<9} {:>7} {:>8.2} im/s {:>8.2} im/s {:>7.1} %{beside}",
        case.network,
        format!("{precision:?}"),
        case.batch,
        rate(&of_forward),
        rate(&of_sampler),
        100.0 * (median(&of_sampler) / median(&of_forward) - 1.0)
    );
    let mut against = serde_json::Map::new();
    for (mode, peer) in modes.iter().zip(&peers) {
        let row = match peer {
            Ok(theirs) => json!({"ratio": ratio(theirs), "images_per_second": rate(theirs)}),
            Err(cause) => {
                println!("      PyTorch, {mode}: {cause}");
                json!({"error": cause})
            }
        };
        against.insert(mode.clone(), row);
    }
    json!({
        "network": case.network,
        "precision": format!("{precision:?}"),
        "images": case.batch,
        "steps": case.steps,
        "images_per_second": rate(&of_sampler),
        "forward_images_per_second": rate(&of_forward),
        "pytorch": against,
    })
}

fn seconds(batch: &mut dyn FnMut()) -> f64 {
    let begin = Instant::now();
    batch();
    begin.elapsed().as_secs_f64()
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
    let images = sampler.sample(seeds, None).unwrap();
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
