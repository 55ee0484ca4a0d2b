//! `just bench train`: images a second in training, at each patch side and in each precision.
//!
//! Networks: `demo`, the demonstration's at 32×32; `reference`, a DDPM++ of 64 channels at 64×64 (10.9 million
//! parameters); `celeba`, the paper's of 128 channels (61.8 million; asked for by name). A step is the whole step of a
//! training stage: patches gathered from mapped shards, noise drawn, forward, backward, Adam, average. The arithmetic
//! rate stands beside that of a large matrix product in the same run. `outside` is the share of the step that is neither
//! forward nor backward nor optimiser. `host` is the time after which the call for forward and backward returns: all of it on
//! a CPU; on a GPU what the processor takes to start the work, and where it is about the step's the GPU waits for it. The
//! last lines give images a second with full-image ratio p = 0.5 against p = 1, for which the arithmetic alone allows 2.7
//! times.
//!
//! On CUDA a batch is made more simply than in a stage: in ordinary memory and between two steps, not by a thread of its
//! own in page-locked memory. There is no augmentation.
//!
//! PyTorch's step on the same network (`python/benchmarks/train_step.py`) takes turns with ours, patch size by patch size:
//! `of eager` and its like are how many times as fast ours is, the median of the ratios of the turns. `--pytorch`, `--mode`:
//! see `support/pytorch.rs`.
//!
//! `--device cpu|cuda|cuda:N`, `--network NAME`, `--precision float32|bfloat16|float16`, `--batch N` whole images a step,
//! `--seconds S` for each measurement, `--threads N`, `--tf32`, `--fast PATH,PATH` for a step with these of the
//! setting `fast_paths` beside the plain one, and how much they differ, `--report FILE` for the measurements as JSON.
//! `--memory BATCH` measures the peak of memory instead, of one network in one precision.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

mod fast;
mod memory;
#[path = "../support/networks.rs"]
mod networks;
#[path = "../support/pytorch.rs"]
mod pytorch;
mod speed;
mod subject;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::time::Duration;

// For its allocator, which a worker has too.
use patchwork_diffusion::{FastPath, FastPaths};
use patchwork_stages as _;
use tch::{Cuda, Device, Kind};

use subject::Subject;

struct Arguments {
    device: Device,
    networks: Vec<String>,
    precisions: Vec<Kind>,
    /// Whole images of a step, smaller patches in proportion; none = what suits the network and the device.
    batch: Option<i64>,
    duration: Duration,
    threads: i32,
    /// The batch whose memory is measured; none = speed is.
    memory: Option<i64>,
    /// Where the measurements are written as JSON too.
    report: Option<PathBuf>,
    /// Whether float32 is TF32.
    tf32: bool,
    /// Which fast paths a step takes.
    fast_paths: FastPaths,
    /// The same as they were typed.
    fast_names: String,
    /// Who is measured beside ours.
    pytorch: pytorch::Options,
}

fn main() {
    support::run_as_a_worker();
    let arguments = parse();
    tch::set_num_threads(arguments.threads);
    Cuda::cudnn_set_benchmark(true);
    println!(
        "device {:?}, {} threads",
        arguments.device, arguments.threads
    );
    let mut rows = Vec::new();
    for name in &arguments.networks {
        let subject = Subject::named(name);
        match arguments.memory {
            Some(batch) => memory::measure_memory(&subject, batch, &arguments),
            None => rows.extend(speed::measure_network(&subject, &arguments)),
        }
    }
    if let Some(report) = &arguments.report {
        std::fs::write(report, serde_json::to_vec_pretty(&rows).unwrap()).unwrap();
    }
}

fn parse() -> Arguments {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments {
        device: Device::Cpu,
        networks: vec!["demo".to_owned(), "reference".to_owned()],
        precisions: Vec::new(),
        batch: None,
        duration: Duration::from_secs(3),
        threads: i32::try_from(cores).unwrap(),
        memory: None,
        report: None,
        tf32: false,
        fast_paths: FastPaths::NONE,
        fast_names: String::new(),
        pytorch: pytorch::Options::default(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        // The worker's environment has seen to TF32.
        arguments.tf32 |= word == "--tf32";
        // Cargo says `--bench` to every benchmark.
        if word == "--bench" || word == "--tf32" {
            continue;
        }
        let value = words
            .next()
            .unwrap_or_else(|| panic!("`{word}` needs a value"));
        if arguments.pytorch.take(&word, &value) {
            continue;
        }
        match word.as_str() {
            "--device" => arguments.device = support::device(&value),
            "--network" => arguments.networks = vec![value],
            "--precision" => arguments.precisions.push(match value.as_str() {
                "float32" => Kind::Float,
                "bfloat16" => Kind::BFloat16,
                "float16" => Kind::Half,
                _ => panic!("precision `{value}` is not known"),
            }),
            "--batch" => arguments.batch = Some(value.parse().unwrap()),
            "--seconds" => arguments.duration = Duration::from_secs_f64(value.parse().unwrap()),
            "--memory" => arguments.memory = Some(value.parse().unwrap()),
            "--report" => arguments.report = Some(value.into()),
            "--fast" => {
                let paths = value.split(',').map(str::parse::<FastPath>);
                arguments.fast_paths = paths.collect::<Result<_, _>>().unwrap();
                arguments.fast_names = value;
            }
            "--threads" => arguments.threads = value.parse().unwrap(),
            _ => {
                panic!("`{word}` is not known; see the head of crates/stages/benches/train/main.rs")
            }
        }
    }
    if arguments.precisions.is_empty() {
        arguments.precisions = vec![Kind::Float, Kind::BFloat16];
        if arguments.device.is_cuda() {
            arguments.precisions.push(Kind::Half);
        }
    }
    arguments
}
