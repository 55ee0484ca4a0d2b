//! Images a second.

use std::time::Instant;

use patchwork_dataset::ShardSet;
use patchwork_diffusion::{PatchSides, Round, Side, StepPlan, TrainStep};
use patchwork_networks::Network;
use tch::{Cuda, Device, Kind, Tensor};

use crate::Arguments;
use crate::subject::{Subject, images, parameters, round, training};

/// Measures a network at every side, in every precision.
pub(crate) fn measure_network(subject: &Subject, arguments: &Arguments) {
    let (name, config) = (subject.name, &subject.config);
    let batch = arguments
        .batch
        .unwrap_or(subject.batch * if arguments.device.is_cuda() { 32 } else { 1 });
    let network = Network::new(config, arguments.device, 0).unwrap();
    let resolution = config.img_resolution;
    println!(
        "\n{name}: {resolution}x{resolution}, {:.1} M parameters",
        parameters(&network) as f64 / 1e6
    );
    println!(
        "side  batch  precision   images/s  of float32  of PyTorch  GFLOP/s  of matmul  data   outside"
    );
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path(), resolution as usize);
    let sides = PatchSides::pixel(resolution, resolution, 0.5).unwrap();
    let mut float32 = Vec::new();
    let mut ratios = Vec::new();
    for &precision in &arguments.precisions {
        let product = matrix_product(precision, arguments);
        let mut training = training(config, batch, precision, arguments.device);
        // In turns, because the machine's speed changes.
        let mut times: Vec<Times> = sides.shares().iter().map(|_| Times::default()).collect();
        let begin = Instant::now();
        let enough = arguments.duration * times.len() as u32;
        for turn in 0..TURNS {
            if turn >= LEAST_TURNS && begin.elapsed() > enough {
                break;
            }
            for (share, times) in sides.shares().iter().zip(&mut times) {
                measure(
                    &mut training,
                    &data,
                    share.side,
                    batch,
                    turn,
                    arguments,
                    times,
                );
            }
        }
        let mut rates = Vec::new();
        for (share, times) in sides.shares().iter().zip(times) {
            let side = share.side;
            let found = times.means(batch * side.multiplier);
            let gflops = found.images_per_second * operations(&network, side.side()) / 1e9;
            let beside = |baseline: Option<f64>| match baseline {
                Some(baseline) => format!("{:.2}", found.images_per_second / baseline),
                None => "-".to_owned(),
            };
            let pytorch = subject
                .pytorch
                .iter()
                .find(|(known, ..)| *known == side.side() && !arguments.device.is_cuda());
            println!(
                "{:>4}  {:>5}  {:<9}  {:>9.2}  {:>10}  {:>10}  {:>7.1}  {:>8.0}%  {:>4.1}%  {:>6.1}%",
                side.side(),
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

/// How often each side has its turn.
const TURNS: u32 = 8;

/// How often at least, where a few steps take longer than was asked for.
const LEAST_TURNS: u32 = 3;

/// Seconds of steps.
#[derive(Default)]
struct Times {
    whole: Vec<f64>,
    waits: Vec<f64>,
    parts: Vec<f64>,
}

struct Measured {
    images_per_second: f64,
    data_share: f64,
    outside_share: f64,
}

impl Times {
    fn means(self, images: i64) -> Measured {
        let step = mean(&self.whole);
        Measured {
            images_per_second: images as f64 / step,
            data_share: mean(&self.waits) / step,
            outside_share: 1.0 - mean(&self.parts) / step,
        }
    }
}

fn measure(
    training: &mut TrainStep,
    data: &ShardSet,
    side: Side,
    batch: i64,
    turn: u32,
    arguments: &Arguments,
    times: &mut Times,
) {
    let device = arguments.device;
    let images = batch * side.multiplier;
    let plan = StepPlan {
        side,
        images_multiplier: side.multiplier as f64,
    };
    // The first steps of a side warm up; whole steps and steps in parts take turns, so that both see the same machine.
    let warm_up = if turn == 0 { 2 } else { 1 };
    let mut begin = Instant::now();
    for step in 0_u64.. {
        if step == warm_up {
            begin = Instant::now();
        }
        if step > warm_up && begin.elapsed() > arguments.duration / TURNS {
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
        let whole = start.elapsed().as_secs_f64();
        let round = round(data, step, side, images as u64, device);
        let parts = in_parts(training, &round, plan, device);
        if step >= warm_up {
            times.whole.push(whole);
            times.waits.push(waited);
            times.parts.push(parts);
        }
    }
}

/// Seconds of forward, backward and optimiser in a step whose other parts are not counted.
fn in_parts(training: &mut TrainStep, round: &Round, plan: StepPlan, device: Device) -> f64 {
    training.begin();
    wait(device);
    let start = Instant::now();
    training.accumulate(round, plan.side);
    training.finish(plan);
    wait(device);
    start.elapsed().as_secs_f64()
}

fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// The mean: a machine that changes its speed is as fast as it is in all, which a middle value does not show.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
