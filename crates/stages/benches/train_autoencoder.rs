//! `just bench train_autoencoder -- --data FOLDER`: how good a small autoencoder gets on a set of pixels in a given time.
//!
//! FOLDER is that of a finished `prepare` stage, or of `patchwork dataset build`. Prints steps, seconds and the peak
//! signal-to-noise ratio of the images that are held out. `--seconds N` (280), `--threads N` (1), `--crop N` (32).

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::PathBuf;
use std::time::Instant;

use patchwork_dataset::ShardSet;
use patchwork_networks::autoencoder::AutoencoderConfig;
use patchwork_stages::autoencoder::{AutoencoderTraining, TrainingOptions};
use tch::Device;

/// Steps that are timed to estimate how many fit into the time.
const TRIAL: u64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)
    };
    let number = |name: &str, usual: u64| value(name).map_or(usual, |text| text.parse().unwrap());
    let Some(folder) = value("--data").map(PathBuf::from) else {
        println!("name a prepared data set: --data FOLDER");
        return;
    };
    let seconds = number("--seconds", 280) as f64;
    tch::set_num_threads(number("--threads", 1) as i32);
    let data = ShardSet::open(&folder).unwrap();
    let settings = |steps| TrainingOptions {
        config: AutoencoderConfig {
            block_out_channels: vec![16, 32, 64],
            norm_num_groups: 8,
            sample_size: Some(data.width() as i64),
            ..AutoencoderConfig::default()
        },
        crop: number("--crop", 32) as usize,
        batch_size: 8,
        steps,
        learning_rate: 2e-3,
        ramp_steps: 50,
        seed: 0,
    };
    let start = Instant::now();
    let mut trial = AutoencoderTraining::new(settings(TRIAL), &data, Device::Cpu).unwrap();
    while trial.steps() < TRIAL {
        trial.step().unwrap();
    }
    let steps = (seconds / start.elapsed().as_secs_f64() * TRIAL as f64) as u64;

    let start = Instant::now();
    let mut training = AutoencoderTraining::new(settings(steps), &data, Device::Cpu).unwrap();
    while training.steps() < steps {
        let report = training.step().unwrap();
        if training.steps().is_multiple_of(u64::max(steps / 10, 1)) {
            println!(
                "step {}, {:.0} s: loss {:.4}, absolute error {:.4}",
                training.steps(),
                start.elapsed().as_secs_f64(),
                report.loss,
                report.absolute
            );
        }
    }
    let trained = start.elapsed().as_secs_f64();
    let found = training.reconstruct(8, 1).unwrap();
    println!(
        "{} images of {} x {}, {steps} steps in {trained:.0} s: {:.2} dB",
        data.len(),
        data.width(),
        data.height(),
        found.psnr
    );
}
