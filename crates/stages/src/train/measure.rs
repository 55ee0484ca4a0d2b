//! How fast a training would be on this machine, by a few of its steps on images of nothing.

use std::time::{Duration, Instant};

use patchwork_artifacts::resources;
use patchwork_artifacts::worker::StageError;
use patchwork_diffusion::{PatchSides, StepPlan, TrainStep};
use patchwork_networks::Network;
use patchwork_recipes::{Execution, TrainSettings};
use serde::Serialize;
use tch::Device;

use super::memory::{self, blank};
use super::setup;
use crate::network::{ImageShape, config_of_shape};

/// How long the steps of one patch size are measured, but for the first, which also takes what is done once.
const MEASURED: Duration = Duration::from_millis(1200);

/// What a training takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pace {
    /// Images that training sees in a second.
    pub(crate) images_per_second: f64,
    /// The least `gradient_accumulation`, from that of the settings up, with which a step fits into memory.
    pub(crate) gradient_accumulation: u32,
    /// The most memory that this process has had; none on a GPU, or where the system does not tell.
    pub(crate) memory_bytes: Option<u64>,
}

/// Measures steps of every patch size of a training, for some seconds; also gives its network.
///
/// Reading images and augmenting them is not part of it.
///
/// # Errors
/// A network that cannot be built; a step of which not even one image at a time fits into memory.
pub(crate) fn pace(
    settings: &TrainSettings,
    execution: &Execution,
    images: ImageShape,
    device: Device,
) -> Result<(Pace, Network), StageError> {
    let config = config_of_shape(settings, images);
    let sides = PatchSides::pixel(
        config.height(),
        config.width(),
        &settings.patch_sizes,
        settings.full_image_ratio,
    )?;
    let fitting = |rounds: u32| -> Result<Result<TrainStep, memory::TooLarge>, StageError> {
        let settings = TrainSettings {
            gradient_accumulation: rounds,
            ..settings.clone()
        };
        let network = Network::new(&config, device, 0)?;
        let mut step = setup::train_step(&settings, execution, network)?;
        // This process makes whole steps.
        let batch = memory::Batch {
            images: settings.batch_size.into(),
            ranks: 1,
        };
        let checked = memory::check(
            &mut step,
            &sides,
            batch,
            rounds.into(),
            execution.ranks_here(),
            execution.memory_gib,
        );
        Ok(checked.map(|()| step))
    };
    let batch = settings.batch_size;
    let mut choices = (settings.gradient_accumulation..=batch)
        .filter(|rounds| batch.is_multiple_of(*rounds))
        .peekable();
    let (mut step, rounds) = loop {
        let rounds = choices.next().unwrap_or(batch);
        match fitting(rounds)? {
            Ok(step) => break (step, rounds),
            Err(problem) if choices.peek().is_none() => return Err(problem.into()),
            Err(_) => {}
        }
    };
    let mut seconds = 0.0;
    for share in sides
        .shares()
        .iter()
        .filter(|share| share.probability > 0.0)
    {
        let plan = StepPlan {
            side: share.side,
            images_multiplier: sides.mean_multiplier(),
        };
        let images = i64::from(batch / rounds) * share.side.multiplier;
        let round = blank(&step, images, share.side);
        let mut take_step = || {
            step.begin();
            for _ in 0..rounds {
                step.accumulate(&round, share.side);
            }
            step.finish(plan);
        };
        take_step();
        seconds += share.probability * mean_seconds(take_step);
    }
    let pace = Pace {
        images_per_second: f64::from(batch) * sides.mean_multiplier() / seconds,
        gradient_accumulation: rounds,
        memory_bytes: match device {
            Device::Cpu => resources::memory().map(|memory| memory.peak_bytes),
            _ => None,
        },
    };
    Ok((pace, step.denoiser.network))
}

/// The mean time of some work, which is done again until it has been measured for long enough.
pub(crate) fn mean_seconds(mut work: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut times = 0_u32;
    while times == 0 || begin.elapsed() < MEASURED {
        work();
        times += 1;
    }
    begin.elapsed().as_secs_f64() / f64::from(times)
}
