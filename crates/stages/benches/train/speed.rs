//! Images a second.

use std::time::Instant;

use patchwork_dataset::{ShardSet, Share};
use patchwork_diffusion::{FastPaths, PatchSides, Round, Side, StepPlan, TrainStep};
use patchwork_networks::Network;
use patchwork_terms::PatchPart;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::Arguments;
use crate::fast::compare;
use crate::pytorch::{self, PyTorch, median};
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
    let folder = tempfile::tempdir().unwrap();
    let data = images(folder.path(), resolution as usize);
    let sides = PatchSides::pixel(resolution, resolution, PatchPart::ALL, 0.5).unwrap();
    let words = [
        ("--network", name.to_owned()),
        ("--threads", arguments.threads.to_string()),
    ];
    let mut pytorch = PyTorch::start(
        &arguments.pytorch,
        "train_step.py",
        arguments.device,
        &words,
    );
    let modes = pytorch
        .as_ref()
        .map_or(Vec::new(), |pytorch| pytorch.modes.clone());
    let beside: Vec<String> = (modes.iter())
        .map(|mode| format!("  {:>13}", of(mode)))
        .collect();
    let beside = beside.concat();
    println!(
        "side  batch  precision   images/s  of float32{beside}  GFLOP/s  of matmul  data   outside   step ms   host ms"
    );
    let mut float32 = Vec::new();
    let mut ratios = Vec::new();
    let mut rows = Vec::new();
    let (plain, fast) = (FastPaths::NONE, arguments.fast_paths);
    let ways = if fast == plain {
        vec![plain]
    } else {
        vec![plain, fast]
    };
    let combined = arguments.precisions.iter().flat_map(|precision| {
        let ways = ways.iter();
        ways.map(move |paths| (*precision, *paths))
    });
    for (precision, paths) in combined {
        let product = matrix_product(precision, arguments);
        let differences = (paths != plain).then(|| {
            println!("      with {}:", arguments.fast_names);
            compare(subject, &data, &sides, precision, arguments)
        });
        let mut training = training(config, batch, precision, arguments.device, paths);
        let mut peers = Peers::new(pytorch.as_mut(), precision, batch, arguments);
        let mut times: Vec<Vec<Turn>> = sides.shares().iter().map(|_| Vec::new()).collect();
        let begin = Instant::now();
        let enough = arguments.duration * (times.len() * (1 + modes.len())) as u32;
        // In turns, because the machine's speed changes.
        for turn in 0..TURNS {
            if turn >= LEAST_TURNS && begin.elapsed() > enough {
                break;
            }
            for (share, times) in sides.shares().iter().zip(&mut times) {
                let mut found = measure(&mut training, &data, share.side, batch, turn, arguments);
                found.peers = peers.measure(share.side);
                times.push(found);
            }
        }
        drop(training);
        let mut rates = Vec::new();
        for (share, times) in sides.shares().iter().zip(times) {
            let side = share.side;
            let found = Measured::of(&times, batch * side.multiplier);
            let gflops = found.images_per_second * operations(&network, side.side()) / 1e9;
            let beside =
                |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let of_float32 = float32
                .get(rates.len())
                .map(|rate| found.images_per_second / rate);
            let of_peers: Vec<String> = (found.ratios.iter())
                .map(|ratio| format!("  {:>13}", beside(*ratio)))
                .collect();
            let of_peers = of_peers.concat();
            println!(
                "{:>4}  {:>5}  {:<9}  {:>9.2}  {:>10}{of_peers}  {:>7.1}  {:>8.0}%  {:>4.1}%  {:>6.1}%  {:>8.1}  {:>8.1}",
                side.side(),
                batch * side.multiplier,
                format!("{precision:?}"),
                found.images_per_second,
                beside(of_float32),
                gflops,
                gflops / product * 100.0,
                found.data_share * 100.0,
                found.outside_share * 100.0,
                found.step_seconds * 1e3,
                found.host_seconds * 1e3,
            );
            let against: serde_json::Map<String, Value> = (modes.iter())
                .zip(found.ratios.iter().zip(&found.peer_rates))
                .map(|(mode, (ratio, rate))| {
                    let row = json!({"ratio": ratio, "images_per_second": rate});
                    (mode.clone(), row)
                })
                .collect();
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
                "pytorch": against,
                "fast_paths": if paths == plain { "" } else { &arguments.fast_names },
                "differences": differences,
            }));
            rates.push(found.images_per_second);
        }
        for problem in peers.problems() {
            println!("      {problem}");
        }
        let size = product_size(arguments.device);
        println!(
            "      a product of {size}x{size} matrices in {precision:?}: {product:.1} GFLOP/s"
        );
        ratios.push((precision, patch_speedup(&rates, &sides)));
        if precision == Kind::Float && paths == plain {
            float32 = rates;
        }
    }
    for (precision, ratio) in ratios {
        println!(
            "p = 0.5 against p = 1 in {precision:?}: {ratio:.2} times the images/s (the arithmetic alone allows 2.71)"
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

/// Mean seconds of a step and its parts over one turn.
struct Turn {
    whole: f64,
    waits: f64,
    parts: f64,
    host: f64,
    finish: f64,
    /// PyTorch's step right after, in each of its modes; none where it cannot run.
    peers: Vec<Option<f64>>,
}

/// The medians over all turns.
struct Measured {
    images_per_second: f64,
    step_seconds: f64,
    host_seconds: f64,
    finish_seconds: f64,
    data_share: f64,
    outside_share: f64,
    /// How many times as fast ours is as each of PyTorch's modes: the turns' own ratios, since a machine changes its speed
    /// from turn to turn.
    ratios: Vec<Option<f64>>,
    peer_rates: Vec<Option<f64>>,
}

impl Measured {
    fn of(turns: &[Turn], images: i64) -> Self {
        let over =
            |part: &dyn Fn(&Turn) -> f64| median(&turns.iter().map(part).collect::<Vec<_>>());
        let over_peer = |mode: usize, part: &dyn Fn(f64, &Turn) -> f64| {
            let values = turns
                .iter()
                .filter_map(|turn| Some(part(turn.peers[mode]?, turn)));
            let values: Vec<f64> = values.collect();
            (!values.is_empty()).then(|| median(&values))
        };
        let modes = 0..turns[0].peers.len();
        let step = over(&|turn| turn.whole);
        Self {
            images_per_second: images as f64 / step,
            step_seconds: step,
            host_seconds: over(&|turn| turn.host),
            finish_seconds: over(&|turn| turn.finish),
            data_share: over(&|turn| turn.waits / turn.whole),
            outside_share: over(&|turn| 1.0 - turn.parts / turn.whole),
            ratios: modes
                .clone()
                .map(|mode| over_peer(mode, &|peer, turn| peer / turn.whole))
                .collect(),
            peer_rates: modes
                .map(|mode| over_peer(mode, &|peer, _| images as f64 / peer))
                .collect(),
        }
    }
}

/// A column's heading.
fn of(mode: &str) -> String {
    match mode {
        "channels-last" => "of chan.-last".to_owned(),
        mode => format!("of {mode}"),
    }
}

/// PyTorch's modes in one precision.
struct Peers<'a> {
    pytorch: Option<&'a mut PyTorch>,
    precision: Option<&'static str>,
    batch: i64,
    seconds: f64,
    /// Why a mode cannot run.
    problems: Vec<Option<String>>,
}

impl<'a> Peers<'a> {
    fn new(
        pytorch: Option<&'a mut PyTorch>,
        precision: Kind,
        batch: i64,
        arguments: &Arguments,
    ) -> Self {
        Self {
            problems: vec![None; pytorch.as_ref().map_or(0, |pytorch| pytorch.modes.len())],
            pytorch,
            precision: pytorch::precision(precision, arguments.tf32),
            batch,
            seconds: (arguments.duration / TURNS).as_secs_f64(),
        }
    }

    /// Seconds of a step at a side, in each mode.
    fn measure(&mut self, side: Side) -> Vec<Option<f64>> {
        let (Some(pytorch), Some(precision)) = (&mut self.pytorch, self.precision) else {
            return vec![None; self.problems.len()];
        };
        let modes = pytorch.modes.clone();
        let each = modes.iter().zip(&mut self.problems);
        each.map(|(mode, problem)| {
            if problem.is_some() {
                return None;
            }
            let answer = pytorch.ask(&json!({
                "mode": mode,
                "precision": precision,
                "patch_size": side.side(),
                "batch": self.batch,
                "seconds": self.seconds,
            }));
            answer.map_err(|cause| *problem = Some(cause)).ok()
        })
        .collect()
    }

    fn problems(&self) -> Vec<String> {
        let modes = self
            .pytorch
            .as_ref()
            .map_or(&[][..], |pytorch| &pytorch.modes);
        let each = modes.iter().zip(&self.problems);
        each.filter_map(|(mode, problem)| Some(format!("PyTorch, {mode}: {}", problem.as_ref()?)))
            .collect()
    }
}

fn measure(
    training: &mut TrainStep,
    data: &ShardSet,
    side: Side,
    batch: i64,
    turn: u32,
    arguments: &Arguments,
) -> Turn {
    let device = arguments.device;
    let images = batch * side.multiplier;
    let plan = StepPlan {
        side,
        images_multiplier: side.multiplier as f64,
    };
    let (mut whole, mut waits, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut host, mut finish) = (Vec::new(), Vec::new());
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
                let round = round(data, step, side, images as u64, Share::WHOLE, device);
                waited = start.elapsed().as_secs_f64();
                Ok::<_, std::convert::Infallible>(round)
            })
            .unwrap();
        wait(device);
        let seconds = start.elapsed().as_secs_f64();
        let round = round(data, step, side, images as u64, Share::WHOLE, device);
        let in_parts = in_parts(training, &round, plan, device);
        if step >= warm_up {
            whole.push(seconds);
            waits.push(waited);
            parts.push(in_parts.passes + in_parts.finish);
            host.push(in_parts.host);
            finish.push(in_parts.finish);
        }
    }
    Turn {
        whole: mean(&whole),
        waits: mean(&waits),
        parts: mean(&parts),
        host: mean(&host),
        finish: mean(&finish),
        peers: Vec::new(),
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

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
