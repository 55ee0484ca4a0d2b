//! From a job to its training.

use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::Seed;
use patchwork_diffusion::{DiffusionError, PatchSides};
use patchwork_networks::{Network, NetworkConfig};
use patchwork_recipes::{TrainJob, TrainSettings};

use super::batch::Batches;
use super::checkpoint::Checkpoints;
use super::checkpoint_keeper::CheckpointKeeper;
use super::divergence_guard::DivergenceGuard;
use super::learner::Learner;
use super::limits::{Limits, minutes};
use super::patch_plan::PatchPlan;
use super::ranks::Ranks;
use super::resume_from::take_over;
use super::snapshot_evaluation::SnapshotEvaluation;
use super::snapshotter::Snapshotter;
use super::telemetry::Telemetry;
use super::training::Training;
use super::watchdog::{Activity, Heartbeat, watched};
use super::{memory, setup};
use crate::data::TrainingData;
use crate::decoder::DecoderPlace;
use crate::device;
use crate::network::network_config;

/// `class_conditional` with data that have no classes.
#[derive(Debug, thiserror::Error)]
#[error(
    "`class_conditional = true` needs labelled images, and the data set has no classes; \
     set `labels` in the prepare stage"
)]
struct NoClasses;

/// The patch sizes of a network of pixels, or of latents.
fn sides(config: &NetworkConfig, settings: &TrainSettings) -> Result<PatchSides, DiffusionError> {
    let (height, width) = (config.height(), config.width());
    let full_image_ratio = settings.full_image_ratio;
    match config.latents {
        Some(_) => PatchSides::latent(height, width, full_image_ratio),
        None => PatchSides::pixel(height, width, &settings.patch_sizes, full_image_ratio),
    }
}

/// Where a launcher says how many ranks there are.
#[derive(Debug, thiserror::Error)]
#[error(
    "`launch` starts {ranks} ranks, more than the {images} images of a micro-batch (`batch_size` divided by \
     `gradient_accumulation`): each needs one of its own"
)]
struct TooManyRanks {
    ranks: u32,
    images: u32,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let read = TrainJob::read(job)?;
    let heartbeat = Heartbeat::new();
    let stall_limit = read.uncovered.execution.stall_minutes.map(minutes);
    // From the first file that is opened to the last that is written: each of them may hang.
    watched(context, &heartbeat, stall_limit, job.is_first(), || {
        train(job, read, context, &heartbeat)
    })
}

fn train(
    job: &Job,
    TrainJob { covered, uncovered }: TrainJob,
    context: &Context,
    heartbeat: &Heartbeat,
) -> Result<Outcome, StageError> {
    let (settings, execution, places) = (covered.settings, uncovered.execution, uncovered.places);
    let device = device::configure(&execution)?;
    let seed = Seed::new(covered.resolved.seed).derive("train");
    let data = TrainingData::open(job, &settings, seed)?;
    if settings.class_conditional && data.class_names().is_empty() {
        return Err(NoClasses.into());
    }
    let config = network_config(&settings, &data);
    let sides = sides(&config, &settings)?;
    let network = Network::new(&config, device, seed.derive("initialisation").value())?;
    let (is_first, ranks) = (job.is_first(), job.ranks());
    if ranks > settings.batch_size / settings.gradient_accumulation {
        let images = settings.batch_size / settings.gradient_accumulation;
        return Err(TooManyRanks { ranks, images }.into());
    }
    let checkpoints = if is_first {
        Checkpoints::open(context.state())?
    } else {
        Checkpoints::of_another_process(context.state())
    };
    let begins = is_first && !checkpoints.is_any()?;
    if begins {
        setup::initialise(&network, &settings, &places, context)?;
    }
    let mut step = setup::train_step(&settings, &execution, network)?;
    let checked = memory::check(
        &mut step,
        &sides,
        memory::Batch {
            images: settings.batch_size.into(),
            ranks: ranks.into(),
        },
        settings.gradient_accumulation.into(),
        execution.ranks_here(),
        execution.memory_gib,
    );
    match checked {
        // It has fitted before: others may use the missing memory for a while.
        Err(problem) if !begins => {
            context.warn(format!(
                "{problem}; continuing all the same, as it did before"
            ));
        }
        checked => checked?,
    }
    let decoder = DecoderPlace::of(job, None, &execution);
    let evaluation = if is_first {
        SnapshotEvaluation::open(
            &places.weights,
            &settings,
            &data,
            context,
            device,
            decoder.clone(),
            heartbeat,
        )?
    } else {
        None
    };
    let mut checkpoints = CheckpointKeeper::new(context, &execution, heartbeat, checkpoints);
    let mut learner = Learner::new(step, settings.duration_images);
    if is_first {
        let is_resumed = checkpoints.restore(&mut learner)?;
        if let (false, Some(digest)) = (is_resumed, &settings.resume_from) {
            let path = places.resume_file.unwrap_or_default();
            take_over(
                &path,
                digest.parse()?,
                settings.duration_images,
                &mut learner,
            )?;
            // From here on the file is not needed.
            checkpoints.save(&learner)?;
        }
    }
    // Late: what takes rank 0 its time alone is behind it, and the others have waited for it at leisure.
    heartbeat.set(Activity::WaitingForRanks);
    let ranks = Ranks::join(job, context, &execution, device)?;
    heartbeat.rest();
    ranks.share_learner(&mut learner)?;
    let folder = job.logs.join("tensorboard").join(&job.stage);
    let log_interval = Duration::from_secs_f64(execution.log_every_seconds);
    let batches = Batches::new(&data, &settings, seed, device)
        .shared(ranks.share())
        .gathered_ahead_on_cuda(&settings, &execution)?;
    let mut training = Training {
        context,
        settings: &settings,
        data: &data,
        plan: PatchPlan {
            sides,
            schedule: settings.patch_schedule,
            seed,
            duration_images: settings.duration_images,
        },
        batches,
        learner,
        checkpoints,
        snapshots: Snapshotter {
            context,
            settings: &settings,
            device,
            heartbeat,
            decoder,
            evaluation,
        },
        guard: DivergenceGuard::new(context, execution.on_divergence),
        telemetry: Telemetry::new(context, folder, log_interval),
        heartbeat,
        is_first,
        ranks,
    };
    let limits = Limits::start(&execution);
    training.run(&limits)?;
    training.finish()
}
