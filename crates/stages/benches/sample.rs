//! `just bench sample`: images a second of the sampler, against the bare evaluations of its network.
//!
//! The baseline is the network alone on a ready batch, as often as the sampler evaluates it; the sampler is the way of
//! a sample stage, from seeds to a written shard. What lies between them is the sampler's own.
//!
//! `just bench sample -- --device cuda:0`; two threads on the processor.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends with the reason"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use patchwork_dataset::{Channels, Row, ShardSetWriter, ShardSpec};
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_networks::{Network, NetworkConfig};
use patchwork_stages::ImageSampler;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// A network, and how much of it is timed.
struct Case {
    name: &'static str,
    resolution: i64,
    channels: i64,
    blocks: i64,
    attention: i64,
    batch: u64,
    /// Of the sampler; Heun evaluates the network twice a step, once in the last.
    steps: usize,
}

const CASES: [Case; 2] = [
    Case {
        name: "demo, 32x32",
        resolution: 32,
        channels: 32,
        blocks: 2,
        attention: 8,
        batch: 64,
        steps: 10,
    },
    Case {
        name: "64 channels, 64x64",
        resolution: 64,
        channels: 64,
        blocks: 4,
        attention: 16,
        batch: 8,
        steps: 4,
    },
];

/// The fastest of so many tries counts: what disturbs only slows.
const TRIES: usize = 3;

fn main() {
    let mut device = Device::Cpu;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        // Cargo itself adds `--bench`.
        if argument == "--device" {
            let name = arguments.next().unwrap();
            let index = name.strip_prefix("cuda:").unwrap_or("0");
            device = Device::Cuda(index.parse().unwrap());
        }
    }
    tch::set_num_threads(2);
    println!(
        "{:<20} {:<9} {:>7} {:>12} {:>12} {:>9}",
        "network", "precision", "batch", "forward", "sampler", "overhead"
    );
    for case in &CASES {
        for precision in [Kind::Float, Kind::BFloat16] {
            measure(case, precision, device);
        }
    }
}

fn measure(case: &Case, precision: Kind, device: Device) {
    let network = Network::new(&config(case), device, 0).unwrap();
    let evaluations = 2 * case.steps - 1;
    let bare = network.to_kind_copy(precision);
    let x = Tensor::randn(
        [case.batch as i64, 5, case.resolution, case.resolution],
        (Kind::Float, device),
    );
    let noise = Tensor::randn([case.batch as i64], (Kind::Float, device));
    let forward = rate(case, || {
        tch::no_grad(|| {
            for _ in 0..evaluations {
                let _ = bare.forward(&x, &noise, None, None, precision, None);
            }
        });
        if device != Device::Cpu {
            tch::Cuda::synchronize(0);
        }
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
        case.name,
        format!("{precision:?}"),
        case.batch,
        100.0 * (forward / sampled - 1.0)
    );
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

fn config(case: &Case) -> NetworkConfig {
    serde_json::from_value(json!({
        "arch": "ddpmpp", "img_resolution": case.resolution, "img_channels": 3, "in_channels": 5,
        "out_channels": 3, "position_channels": true, "label_dim": 0, "augment_dim": 0,
        "model_channels": case.channels, "channel_mult": [1, 2, 2], "num_blocks": case.blocks,
        "attn_resolutions": [case.attention], "dropout": 0.05, "sigma_data": 0.5
    }))
    .unwrap()
}
