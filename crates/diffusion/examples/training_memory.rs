//! Peak resident memory of training steps of the CelebA-64 network (DDPM++, 61.8 million parameters), float32, CPU.
//!
//! `training_memory BATCH [STEPS]`, one process a batch size: the kernel's high-water mark (VmHWM) is the process's.
//! The allocator's settings are those of a worker when it is started with
//! `MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=67108864`.

use std::convert::Infallible;
use std::io::Write;
use std::time::Instant;

use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::{
    AdamOptions, EmaProfile, ImageClock, LearningRate, NetworkDenoiser, Round, Side, StepPlan,
    TrainOptions, TrainStep,
};
use patchwork_networks::{Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

const RESOLUTION: i64 = 64;

fn config() -> Result<NetworkConfig, serde_json::Error> {
    serde_json::from_str(
        r#"{"arch": "ddpmpp", "img_resolution": 64, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 128,
            "channel_mult": [1, 2, 2, 2], "num_blocks": 4, "attn_resolutions": [16], "dropout": 0.05,
            "sigma_data": 0.5}"#,
    )
}

/// A line of the kernel's account of this process, in MiB.
fn status(key: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.ok_or_else(|| format!("/proc/self/status has no line `{key}`"))?;
    let kibibytes = line.trim_matches([':', ' ', '\t', 'k', 'B']);
    Ok(kibibytes.parse::<u64>()? / 1024)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let batch: i64 = arguments
        .next()
        .ok_or("usage: training_memory BATCH [STEPS]")?
        .parse()?;
    let steps: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    tch::set_num_threads(2);
    let network = Network::new(&config()?, Device::Cpu, 0)?;
    let parameters: usize = network
        .parameters()
        .iter()
        .map(|each| each.tensor.numel())
        .sum();
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
        images_seen: 1,
    };
    let mut training = TrainStep::new(NetworkDenoiser::new(network), options, &[average], clock);
    let before = status("VmRSS")?;
    let plan = StepPlan {
        side: Side {
            side: RESOLUTION,
            multiplier: 1,
        },
        images_multiplier: 1.0,
    };
    let start = Instant::now();
    for step in 0..steps {
        let images = || {
            Tensor::randn(
                [batch, 3, RESOLUTION, RESOLUTION],
                (Kind::Float, Device::Cpu),
            )
        };
        let Ok(_) = training.run(plan, 1, |_, _| {
            Ok::<_, Infallible>(Round {
                patches: images().clamp(-1.0, 1.0),
                rows: vec![0; batch as usize],
                cols: vec![0; batch as usize],
                class_labels: None,
                augment_labels: None,
                rnd_normal: Tensor::randn([batch], (Kind::Float, Device::Cpu)),
                noise: images(),
                dropout_seed: Some(step as i64),
            })
        });
    }
    let seconds = start.elapsed().as_secs_f64() / steps as f64;
    writeln!(
        std::io::stdout(),
        "{parameters} parameters, batch {batch}: {before} MiB before the first step, {} MiB at most, {seconds:.1} s a step",
        status("VmHWM")?
    )?;
    Ok(())
}
