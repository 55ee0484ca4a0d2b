//! `just bench ranks`: images a second of two processes with one thread each, against one process with one thread and
//! against one with two threads, whose two replicas share a micro-batch.
//!
//! Networks as in `just bench train`: `demo` and `reference`, the DDPM++ of 64 channels; another one by `--network`. The whole
//! batch is the same each time, so that two processes have half of it each. Steps have the patch sizes of training with p =
//! 0.5. `all-reduce` is its share of the step, with the wait for the slower process in it. Two processes that exchange
//! nothing are the most that two can reach on this machine, whose cores share memory and clock. The last line of a network
//! is arithmetic and not measured: what the all-reduce would take with more processes, from the measured bandwidth.
//!
//! `--network NAME`, `--batch N`, `--precision float32|bfloat16`, `--seconds S` for each measurement, `--turns N`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends with the reason"
)]

#[path = "support/networks.rs"]
mod networks;
#[path = "train/subject.rs"]
mod subject;
#[path = "support/mod.rs"]
#[expect(dead_code, reason = "other benchmarks choose a device and wait for it")]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use patchwork_collectives::{
    Backend, Group, Hosts, Identity, JoinOptions, Membership, Reduction, Rendezvous, probe,
};
use patchwork_dataset::Share;
use patchwork_diffusion::{PatchSides, Side, StepPlan};
use patchwork_networks::Network;
// For its allocator, which a worker has too.
use patchwork_stages as _;
use patchwork_terms::PatchPart;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use subject::{Subject, images, parameters, round, training};

/// What one process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    network: String,
    batch: i64,
    bfloat16: bool,
    seconds: f64,
    rank: u32,
    ranks: u32,
    threads: i32,
    /// Whether the processes add up their gradients.
    exchanges: bool,
    folder: PathBuf,
}

/// What it found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    images: f64,
    seconds: f64,
    reduce_seconds: f64,
    /// Of an all-reduce of the network's size alone.
    bytes_per_second: Option<f64>,
    latency_seconds: Option<f64>,
}

const TASK: &str = "PATCHWORK_BENCH_TASK";

/// How it is called, processes, threads of each, whether they exchange gradients.
const WAYS: [(&str, u32, i32, bool); 4] = [
    ("1 process, 1 thread", 1, 1, true),
    ("1 process, 2 replicas", 1, 2, true),
    ("2 processes, 1 thread each", 2, 1, true),
    ("the same, nothing exchanged", 2, 1, false),
];

fn main() {
    support::run_as_a_worker();
    if let Ok(task) = std::env::var(TASK) {
        let found = work(&serde_json::from_str(&task).unwrap());
        println!("{}", serde_json::to_string(&found).unwrap());
        return;
    }
    let mut networks = vec!["demo".to_owned(), "reference".to_owned()];
    let (mut batch, mut bfloat16, mut seconds, mut turns) = (None, false, 8.0, 3);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words
            .next()
            .unwrap_or_else(|| panic!("`{word}` needs a value"));
        match word.as_str() {
            "--network" => networks = vec![value],
            "--batch" => batch = Some(value.parse().unwrap()),
            "--precision" => bfloat16 = value == "bfloat16",
            "--seconds" => seconds = value.parse().unwrap(),
            "--turns" => turns = value.parse().unwrap(),
            _ => panic!("`{word}` is not known; see the head of crates/stages/benches/ranks.rs"),
        }
    }
    for name in networks {
        let subject = Subject::named(&name);
        let task = Task {
            batch: batch.unwrap_or(subject.batch),
            network: name,
            bfloat16,
            seconds: seconds / f64::from(turns),
            rank: 0,
            ranks: 1,
            threads: 1,
            exchanges: true,
            folder: PathBuf::new(),
        };
        measure(&subject, &task, turns);
    }
}

fn measure(subject: &Subject, pattern: &Task, turns: u32) {
    let network = Network::new(&subject.config, Device::Cpu, 0).unwrap();
    let resolution = subject.config.img_resolution;
    let Task {
        batch, bfloat16, ..
    } = *pattern;
    println!(
        "\n{}: {resolution}x{resolution}, {:.1} M parameters, batch {batch}, {}",
        subject.name,
        parameters(&network) as f64 / 1e6,
        if bfloat16 { "bfloat16" } else { "float32" }
    );
    println!("                             images/s  against the first  all-reduce");
    let mut all: [Vec<Found>; 4] = Default::default();
    // In turns, because the machine's speed changes.
    for _ in 0..turns {
        for ((_, ranks, threads, exchanges), found) in WAYS.into_iter().zip(&mut all) {
            let folder = tempfile::tempdir().unwrap();
            let tasks = (0..ranks).map(|rank| Task {
                rank,
                ranks,
                threads,
                exchanges,
                folder: folder.path().to_owned(),
                ..pattern.clone()
            });
            found.push(together(&tasks.collect::<Vec<_>>()));
        }
    }
    let sum = |found: &[Found], of: fn(&Found) -> f64| found.iter().map(of).sum::<f64>();
    let rates = all
        .each_ref()
        .map(|found| sum(found, |one| one.images) / sum(found, |one| one.seconds));
    for (((way, ..), found), rate) in WAYS.into_iter().zip(&all).zip(rates) {
        let share = sum(found, |one| one.reduce_seconds) / sum(found, |one| one.seconds);
        println!(
            "{way:<27}  {rate:>8.2}  {:>17.2}  {:>9.1}%",
            rate / rates[0],
            share * 100.0
        );
    }
    project(&network, &all[2], rates[0], batch);
}

/// What more processes would give, if each had a machine of its own and the network between them were as fast as here.
fn project(network: &Network, pair: &[Found], rate: f64, batch: i64) {
    let median = |of: fn(&Found) -> Option<f64>| {
        let mut values: Vec<f64> = pair.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let bandwidth = median(|found| found.bytes_per_second);
    let latency = median(|found| found.latency_seconds);
    let bytes = 4.0 * parameters(network) as f64;
    let texts: Vec<String> = [2, 4, 8, 16]
        .into_iter()
        .map(|ranks| {
            let ranks = f64::from(ranks);
            // A ring sends 2 (n - 1) / n of the buffer; two processes send all of it.
            let reduce = latency * ranks + bytes / bandwidth * 2.0 * (ranks - 1.0) / ranks;
            let compute = batch as f64 / rate;
            format!(
                "{ranks} processes {:.0}%",
                100.0 * compute / (compute + reduce)
            )
        })
        .collect();
    println!(
        "all-reduce alone: {:.2} GB/s, {:.2} ms for one number; by arithmetic, with {batch} images a process, of the ideal: {}",
        bandwidth / 1e9,
        latency * 1e3,
        texts.join(", ")
    );
}

/// Has processes do their tasks at once; gives what the first one found.
fn together(tasks: &[Task]) -> Found {
    let started: Vec<_> = tasks
        .iter()
        .map(|task| {
            Command::new(std::env::current_exe().unwrap())
                .env(TASK, serde_json::to_string(task).unwrap())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = started
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    assert!(outputs.iter().all(|output| output.status.success()));
    serde_json::from_slice(&outputs[0].stdout).unwrap()
}

fn join(task: &Task) -> Option<Group> {
    let Task {
        rank,
        ranks,
        exchanges,
        folder,
        ..
    } = task;
    (*ranks > 1 && *exchanges).then(|| {
        let membership = Membership {
            rank: *rank,
            ranks: *ranks,
            local_rank: *rank,
            local_ranks: *ranks,
        };
        let rendezvous = Rendezvous::File {
            path: folder.join("rendezvous.json"),
            hosts: Hosts::This,
        };
        let options = JoinOptions {
            backend: Backend::Gloo { host: None },
            join_timeout: Duration::from_mins(1),
            timeout: Duration::from_mins(1),
            identity: Identity::default(),
        };
        Group::join(membership, &rendezvous, &options).unwrap()
    })
}

/// Steps of training, for about as long as is asked for.
fn work(task: &Task) -> Found {
    tch::set_num_threads(task.threads);
    let subject = Subject::named(&task.network);
    let (config, batch) = (&subject.config, task.batch);
    let folder: &Path = &task.folder.join(format!("images-{}", task.rank));
    let data = images(folder, config.img_resolution as usize);
    let precision = if task.bfloat16 {
        Kind::BFloat16
    } else {
        Kind::Float
    };
    let mut training = training(
        config,
        batch,
        precision,
        Device::Cpu,
        patchwork_diffusion::FastPaths::NONE,
    );
    let group = join(task);
    let share = Share::new(task.rank.into(), task.ranks.into());
    let sides = PatchSides::pixel(
        config.img_resolution,
        config.img_resolution,
        PatchPart::ALL,
        0.5,
    )
    .unwrap();
    // Ten steps with each side as often as in training.
    let sides: Vec<Side> = sides
        .shares()
        .iter()
        .flat_map(|share| vec![share.side; (share.probability * 10.0).round() as usize])
        .collect();
    let mut found = Found::default();
    for turn in 0_u64.. {
        for (place, &side) in sides.iter().enumerate() {
            let plan = StepPlan {
                side,
                images_multiplier: side.multiplier as f64,
            };
            let images = (batch * side.multiplier) as u64;
            let begin = Instant::now();
            let step = turn * 10 + place as u64;
            let round = round(&data, step, side, images, share, Device::Cpu);
            training.begin();
            training.accumulate(&round, side);
            let reducing = Instant::now();
            if let Some(group) = &group {
                training
                    .reduce(side, |tensor| {
                        group.all_reduce(&mut [tensor], Reduction::Sum)
                    })
                    .unwrap();
            }
            let reduce_seconds = reducing.elapsed().as_secs_f64();
            training.finish(plan);
            // The first turn warms up.
            if turn > 0 {
                found.images += images as f64;
                found.seconds += begin.elapsed().as_secs_f64();
                found.reduce_seconds += reduce_seconds;
            }
        }
        // Where nothing is exchanged, each ends by itself.
        let decides = task.rank == 0 || group.is_none();
        let is_over = [decides && turn > 0 && found.seconds > task.seconds];
        let [is_over] = match &group {
            Some(group) => group.any(is_over).unwrap(),
            None => is_over,
        };
        if is_over {
            break;
        }
    }
    if let Some(group) = group {
        let elements = parameters(&training.denoiser.network) as i64;
        let alone = probe(&group, elements, Device::Cpu).unwrap();
        found.bytes_per_second = Some(alone.bytes_per_second());
        found.latency_seconds = Some(alone.latency.as_secs_f64());
        group.leave().unwrap();
    }
    found
}
