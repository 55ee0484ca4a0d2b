//! `just bench train`: images a second in training, at each patch side and in each precision.
//!
//! Two networks: the demonstration's at 32×32, and a DDPM++ of 64 channels at 64×64 (10.9 million parameters). A step
//! is the whole step of a training stage: patches gathered from mapped shards, noise drawn, forward, backward, Adam,
//! average. The arithmetic rate stands beside that of a large matrix product in the same run; `outside` is the share
//! of the step that is neither forward nor backward nor optimiser. The last lines give images a second with
//! full-image ratio p = 0.5 against p = 1, for which the arithmetic alone allows 2.7 times.
//!
//! `--device cpu|cuda|cuda:N`, `--network demo|reference`, `--precision float32|bfloat16|float16`, `--seconds S` for
//! each measurement, `--threads N`, `--tf32`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends with the reason"
)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use patchwork_core::Seed;
use patchwork_dataset::{Order, PatchRequest, PatchSize, Row, ShardSet, ShardSetWriter, ShardSpec};
use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::{
    AdamOptions, EmaProfile, ImageClock, LearningRate, NetworkDenoiser, PatchSides, Round, Side,
    StepPlan, TrainOptions, TrainStep,
};
use patchwork_networks::{Network, NetworkConfig};
use patchwork_pipeline::WORKER_ENVIRONMENT;
use tch::{Cuda, Device, Kind, Tensor};

/// Images a second of PyTorch 2.11, eager, float32, two threads, on the network `reference` at sides 16, 32 and 64,
/// as recorded on a machine of two cores: the lower and the upper end.
const PYTORCH: [(i64, f64, f64); 3] = [(16, 27.0, 38.0), (32, 8.3, 8.8), (64, 2.2, 2.4)];

struct Arguments {
    device: Device,
    networks: Vec<String>,
    precisions: Vec<Kind>,
    duration: Duration,
    threads: i32,
}

fn main() {
    run_as_a_worker();
    let arguments = parse();
    tch::set_num_threads(arguments.threads);
    Cuda::cudnn_set_benchmark(true);
    println!(
        "device {:?}, {} threads",
        arguments.device, arguments.threads
    );
    for name in &arguments.networks {
        measure_network(name, &arguments);
    }
}

/// Starts again with the environment of a worker, which the C library and libtorch read as they are loaded.
fn run_as_a_worker() {
    const MARK: &str = "PATCHWORK_BENCH_WORKER";
    if std::env::var_os(MARK).is_some() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args().skip(1)).env(MARK, "1");
    // As the planner asks of a worker on CUDA.
    let tf32 = if std::env::args().any(|word| word == "--tf32") {
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    } else {
        ("NVIDIA_TF32_OVERRIDE", "0")
    };
    for (variable, value) in WORKER_ENVIRONMENT.into_iter().chain([tf32]) {
        if std::env::var_os(variable).is_none() {
            command.env(variable, value);
        }
    }
    panic!("{}", command.exec());
}

fn parse() -> Arguments {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments {
        device: Device::Cpu,
        networks: vec!["demo".to_owned(), "reference".to_owned()],
        precisions: Vec::new(),
        duration: Duration::from_secs(3),
        threads: i32::try_from(cores).unwrap(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        // What cargo says to every benchmark, and what has been seen to.
        if word == "--bench" || word == "--tf32" {
            continue;
        }
        let value = words
            .next()
            .unwrap_or_else(|| panic!("`{word}` needs a value"));
        match word.as_str() {
            "--device" if value == "cpu" => arguments.device = Device::Cpu,
            "--device" => {
                let index = value
                    .strip_prefix("cuda")
                    .map(|rest| rest.trim_start_matches(':'));
                let index = index.unwrap_or_else(|| panic!("device `{value}` is not known"));
                let index = if index.is_empty() {
                    0
                } else {
                    index.parse().unwrap()
                };
                assert!(
                    (index as i64) < Cuda::device_count(),
                    "libtorch sees {} CUDA devices; `PATCHWORK_CUDA=1 ./justw setup` fetches the CUDA build",
                    Cuda::device_count()
                );
                arguments.device = Device::Cuda(index);
            }
            "--network" => arguments.networks = vec![value],
            "--precision" => arguments.precisions.push(match value.as_str() {
                "float32" => Kind::Float,
                "bfloat16" => Kind::BFloat16,
                "float16" => Kind::Half,
                _ => panic!("precision `{value}` is not known"),
            }),
            "--seconds" => arguments.duration = Duration::from_secs_f64(value.parse().unwrap()),
            "--threads" => arguments.threads = value.parse().unwrap(),
            _ => panic!("`{word}` is not known; see the head of crates/stages/benches/train.rs"),
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

fn config(name: &str) -> (NetworkConfig, i64) {
    // The batch is that of the full side; smaller sides take more.
    let (resolution, channels, blocks, attention, dropout, batch) = match name {
        "demo" => (32, 32, 2, 8, 0.0, 8),
        "reference" => (64, 64, 4, 16, 0.05, 4),
        _ => panic!("network `{name}` is neither `demo` nor `reference`"),
    };
    let text = format!(
        r#"{{"arch": "ddpmpp", "img_resolution": {resolution}, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": {channels},
            "channel_mult": [1, 2, 2], "num_blocks": {blocks}, "attn_resolutions": [{attention}],
            "dropout": {dropout}, "sigma_data": 0.5}}"#
    );
    (serde_json::from_str(&text).unwrap(), batch)
}

fn measure_network(name: &str, arguments: &Arguments) {
    let (config, batch) = config(name);
    let batch = if arguments.device.is_cuda() {
        batch * 32
    } else {
        batch
    };
    let network = Network::new(&config, arguments.device, 0).unwrap();
    let parameters: usize = network
        .parameters()
        .iter()
        .map(|each| each.tensor.numel())
        .sum();
    let resolution = config.img_resolution;
    println!(
        "\n{name}: {resolution}x{resolution}, {:.1} M parameters",
        parameters as f64 / 1e6
    );
    println!(
        "side  batch  precision   images/s  of float32  of PyTorch  GFLOP/s  of matmul  data   outside"
    );
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path(), resolution as usize);
    let sides = PatchSides::pixel(resolution, 0.5).unwrap();
    let mut float32 = Vec::new();
    let mut ratios = Vec::new();
    for &precision in &arguments.precisions {
        let product = matrix_product(precision, arguments);
        let mut training = training(&config, batch, precision, arguments.device);
        let mut rates = Vec::new();
        for share in sides.shares() {
            let side = share.side;
            let found = measure(&mut training, &data, side, batch, arguments);
            let gflops = found.images_per_second * operations(&network, side.side) / 1e9;
            let beside = |baseline: Option<f64>| match baseline {
                Some(baseline) => format!("{:.2}", found.images_per_second / baseline),
                None => "-".to_owned(),
            };
            let pytorch = PYTORCH.iter().find(|(known, ..)| {
                *known == side.side && name == "reference" && !arguments.device.is_cuda()
            });
            println!(
                "{:>4}  {:>5}  {:<9}  {:>9.2}  {:>10}  {:>10}  {:>7.1}  {:>8.0}%  {:>4.1}%  {:>6.1}%",
                side.side,
                batch * side.multiplier,
                format!("{precision:?}"),
                found.images_per_second,
                beside(float32.get(rates.len()).copied()),
                beside(pytorch.map(|(_, lower, upper)| f64::midpoint(*lower, *upper))),
                gflops,
                gflops / product * 100.0,
                found.data_share * 100.0,
                found.outside_share * 100.0,
            );
            rates.push(found.images_per_second);
        }
        println!(
            "      a product of {PRODUCT}x{PRODUCT} matrices in {precision:?}: {product:.1} GFLOP/s"
        );
        ratios.push((precision, patch_speedup(&rates, &sides)));
        if precision == Kind::Float {
            float32 = rates;
        }
    }
    for (precision, ratio) in ratios {
        println!(
            "p = 0.5 against p = 1 in {precision:?}: {ratio:.2} times the images/s (at least 2.4, arithmetic 2.71)"
        );
    }
}

/// Images a second with the shares of `sides` over those of the full side alone.
fn patch_speedup(rates: &[f64], sides: &PatchSides) -> f64 {
    let (mut images, mut seconds) = (0.0, 0.0);
    for (share, rate) in sides.shares().iter().zip(rates) {
        let multiplier = share.side.multiplier as f64;
        images += share.probability * multiplier;
        seconds += share.probability * multiplier / rate;
    }
    images / seconds / rates[rates.len() - 1]
}

/// Floating-point operations of one image's forward and backward at a side: convolutions, linear layers and
/// attention, two a multiplication and addition, the way back counting twice.
fn operations(network: &Network, side: i64) -> f64 {
    let resolution = network.config().img_resolution;
    let forward: i64 = network
        .parameters()
        .iter()
        .map(|parameter| {
            let shape = parameter.tensor.size();
            let count: i64 = shape.iter().product();
            match shape.len() {
                2 => 2 * count,
                4 => {
                    // As in `enc.64x64_block0.conv0.weight`.
                    let level = parameter.name.split(['.', 'x']).nth(1).unwrap();
                    let mut side = level.parse::<i64>().unwrap() * side / resolution;
                    if parameter.name.ends_with("_up.skip.weight") {
                        side /= 2; // mixes the channels before it doubles the size
                    }
                    let pixels = side * side;
                    let attention = if parameter.name.ends_with(".qkv.weight") {
                        4 * shape[1] * pixels * pixels
                    } else {
                        0
                    };
                    2 * count * pixels + attention
                }
                _ => 0,
            }
        })
        .sum();
    3.0 * forward as f64
}

const PRODUCT: i64 = 2048;

/// GFLOP/s of a large matrix product, the best of several.
fn matrix_product(precision: Kind, arguments: &Arguments) -> f64 {
    let matrix =
        || Tensor::randn([PRODUCT, PRODUCT], (Kind::Float, arguments.device)).to_kind(precision);
    let (a, b) = (matrix(), matrix());
    let best = (0..12)
        .map(|_| {
            let start = Instant::now();
            let product = a.matmul(&b);
            wait(arguments.device);
            drop(product);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * (PRODUCT as f64).powi(3) / best / 1e9
}

/// A data set of pictures that no one needs to see.
fn images(folder: &Path, resolution: usize) -> ShardSet {
    const IMAGES: u32 = 512;
    let spec = ShardSpec {
        width: resolution,
        height: resolution,
        images_per_shard: IMAGES as usize,
        class_names: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
    };
    let rows = (0..IMAGES)
        .map(|index| Row {
            key: index.to_string(),
            label: None,
            pixels: (0..resolution * resolution * 3)
                .map(|place| ((place * 7 + index as usize * 31) % 251) as u8)
                .collect(),
            source_width: resolution as u16,
            source_height: resolution as u16,
        })
        .collect();
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer.write_shard(rows, Vec::new()).unwrap();
    writer.finish().unwrap();
    ShardSet::open(folder).unwrap()
}

fn training(config: &NetworkConfig, batch: i64, precision: Kind, device: Device) -> TrainStep {
    let network = Network::new(config, device, 0).unwrap();
    let denoiser = NetworkDenoiser {
        precision,
        ..NetworkDenoiser::new(network)
    };
    let options = TrainOptions {
        batch_per_rank: batch,
        loss_scaling: 1.0,
        learning_rate: LearningRate {
            rate: 2e-4,
            rampup_images: 10_000_000,
            decay: None,
        },
        max_gradient_norm: None,
        loss: LossOptions::default(),
        adam: AdamOptions::default(),
    };
    let average = EmaProfile::HalfLife {
        images: 500_000,
        rampup_ratio: Some(0.05),
    };
    let clock = ImageClock {
        batch_size: batch.unsigned_abs(),
        images_seen: 1_000_000,
    };
    TrainStep::new(denoiser, options, &[average], clock)
}

struct Measured {
    images_per_second: f64,
    data_share: f64,
    outside_share: f64,
}

fn measure(
    training: &mut TrainStep,
    data: &ShardSet,
    side: Side,
    batch: i64,
    arguments: &Arguments,
) -> Measured {
    let device = arguments.device;
    let images = batch * side.multiplier;
    let plan = StepPlan {
        side,
        images_multiplier: side.multiplier as f64,
    };
    let (mut whole, mut waits, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    // Two to warm up; whole steps and steps in parts take turns, so that both see the same machine.
    let mut begin = Instant::now();
    for step in 0_u64.. {
        if step == 2 {
            begin = Instant::now();
            whole.clear();
            waits.clear();
            parts.clear();
        }
        if step > 4 && begin.elapsed() > arguments.duration {
            break;
        }
        let start = Instant::now();
        let mut waited = 0.0;
        training
            .run(plan, 1, |_, side| {
                let start = Instant::now();
                let round = round(data, step, side, images as u64, device);
                waited = start.elapsed().as_secs_f64();
                Ok::<_, std::convert::Infallible>(round)
            })
            .unwrap();
        wait(device);
        whole.push(start.elapsed().as_secs_f64());
        waits.push(waited);
        let round = round(data, step, side, images as u64, device);
        parts.push(in_parts(training, &round, plan, device));
    }
    let step = median(whole);
    Measured {
        images_per_second: images as f64 / step,
        data_share: median(waits) / step,
        outside_share: 1.0 - median(parts) / step,
    }
}

/// Seconds of forward, backward and optimiser in a step whose other parts are not counted.
fn in_parts(training: &mut TrainStep, round: &Round, plan: StepPlan, device: Device) -> f64 {
    training.begin();
    wait(device);
    let start = Instant::now();
    let loss = training.forward(round, plan.side);
    training.backward(loss);
    training.finish(plan);
    wait(device);
    start.elapsed().as_secs_f64()
}

/// A batch as a training stage makes it.
fn round(data: &ShardSet, step: u64, side: Side, images: u64, device: Device) -> Round {
    let seed = Seed::new(1);
    let order = Order::new(data.len() as u64, seed.derive("order"));
    let mut draws = seed.derive("patches").at(step).stream();
    let free = (data.width() as u64) - side.side as u64 + 1;
    let requests: Vec<PatchRequest> = (0..images)
        .map(|offset| PatchRequest {
            index: order.index_at(step * images + offset) as usize,
            row: draws.below(free) as usize,
            column: draws.below(free) as usize,
            mirrored: draws.uniform() < 0.5,
        })
        .collect();
    let size = PatchSize::square(side.side as usize);
    let mut values = vec![0.0_f32; requests.len() * size.values()];
    data.gather(&requests, size, &mut values).unwrap();
    let shape = [images as i64, 3, side.side, side.side];
    tch::manual_seed(step as i64);
    let float = (Kind::Float, Device::Cpu);
    Round {
        patches: Tensor::from_slice(&values).reshape(shape).to_device(device),
        rows: requests.iter().map(|request| request.row as i64).collect(),
        cols: requests
            .iter()
            .map(|request| request.column as i64)
            .collect(),
        class_labels: None,
        augment_labels: None,
        rnd_normal: Tensor::randn([images as i64], float).to_device(device),
        noise: Tensor::randn(shape, float).to_device(device),
        dropout_seed: Some(step as i64),
    }
}

fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
