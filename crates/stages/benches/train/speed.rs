//! Images a second.

use std::time::Instant;

use patchwork_dataset::ShardSet;
use patchwork_diffusion::{PatchSides, Round, Side, StepPlan, TrainStep};
use patchwork_networks::Network;
use patchwork_terms::PatchPart;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::Arguments;
use crate::pytorch;
use crate::subject::{Subject, images, parameters, round, training};
use crate::support::wait;

/// Measures a network at every side, in every precision; returns each measurement as a row of a report.
pub(crate) fn measure_network(subject: &Subject, arguments: &Arguments) -> Vec<Value> {
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
        "side  batch  precision   images/s  of float32  of PyTorch  GFLOP/s  of matmul  data   outside   step ms   host ms"
    );
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path(), resolution as usize);
    let sides = PatchSides::pixel(resolution, resolution, PatchPart::ALL, 0.5).unwrap();
    let mut float32 = Vec::new();
    let mut ratios = Vec::new();
    let mut rows = Vec::new();
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
        // Its memory is PyTorch's from here on.
        drop(training);
        let pytorch = pytorch::rates(subject, precision, batch, arguments);
        let mut rates = Vec::new();
        for (share, times) in sides.shares().iter().zip(times) {
            let side = share.side;
            let found = times.means(batch * side.multiplier);
            let gflops = found.images_per_second * operations(&network, side.side()) / 1e9;
            let beside = |baseline: Option<f64>| match baseline {
                Some(baseline) => format!("{:.2}", found.images_per_second / baseline),
                None => "-".to_owned(),
            };
            let pytorch = pytorch.as_ref().map(|rates_of| rates_of[rates.len()]);
            println!(
                "{:>4}  {:>5}  {:<9}  {:>9.2}  {:>10}  {:>10}  {:>7.1}  {:>8.0}%  {:>4.1}%  {:>6.1}%  {:>8.1}  {:>8.1}",
                side.side(),
                batch * side.multiplier,
                format!("{precision:?}"),
                found.images_per_second,
                beside(float32.get(rates.len()).copied()),
                beside(pytorch),
                gflops,
                gflops / product * 100.0,
                found.data_share * 100.0,
                found.outside_share * 100.0,
                found.step_seconds * 1e3,
                found.host_seconds * 1e3,
            );
            rows.push(json!({
                "network": name,
                "precision": format!("{precision:?}"),
                "patch_size": side.side(),
                "images": batch * side.multiplier,
                "images_per_second": found.images_per_second,
                "step_ms": found.step_seconds * 1e3,
                "host_ms": found.host_seconds * 1e3,
                "finish_ms": found.finish_seconds * 1e3,
                "outside_share": found.outside_share,
                "gflops": gflops,
                "matmul_gflops": product,
                "pytorch_images_per_second": pytorch,
            }));
            rates.push(found.images_per_second);
        }
        let size = product_size(arguments.device);
        println!(
            "      a product of {size}x{size} matrices in {precision:?}: {product:.1} GFLOP/s"
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
    rows
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

/// The side of a large matrix: on a GPU a product of 2048 measures how fast it is started.
fn product_size(device: Device) -> i64 {
    if device.is_cuda() { 8192 } else { 2048 }
}

/// GFLOP/s of a large matrix product, the best of several.
fn matrix_product(precision: Kind, arguments: &Arguments) -> f64 {
    let size = product_size(arguments.device);
    let matrix = || Tensor::randn([size, size], (Kind::Float, arguments.device)).to_kind(precision);
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
    2.0 * (size as f64).powi(3) / best / 1e9
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
    host: Vec<f64>,
    finish: Vec<f64>,
}

struct Measured {
    images_per_second: f64,
    step_seconds: f64,
    host_seconds: f64,
    finish_seconds: f64,
    data_share: f64,
    outside_share: f64,
}

impl Times {
    fn means(self, images: i64) -> Measured {
        let step = mean(&self.whole);
        Measured {
            images_per_second: images as f64 / step,
            step_seconds: step,
            host_seconds: mean(&self.host),
            finish_seconds: mean(&self.finish),
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
            times.parts.push(parts.passes + parts.finish);
            times.host.push(parts.host);
            times.finish.push(parts.finish);
        }
    }
}

/// Seconds of a step's parts.
struct Parts {
    /// Forward and backward.
    passes: f64,
    /// Until the call for them returned.
    host: f64,
    /// Cleaning, optimiser and average.
    finish: f64,
}

/// A step in parts, of which the others are not counted.
fn in_parts(training: &mut TrainStep, round: &Round, plan: StepPlan, device: Device) -> Parts {
    training.begin();
    wait(device);
    let start = Instant::now();
    training.accumulate(round, plan.side);
    let host = start.elapsed().as_secs_f64();
    wait(device);
    let passes = start.elapsed().as_secs_f64();
    training.finish(plan);
    wait(device);
    Parts {
        passes,
        host,
        finish: start.elapsed().as_secs_f64() - passes,
    }
}

/// The mean: a machine that changes its speed is as fast as it is in all, which a middle value does not show.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
