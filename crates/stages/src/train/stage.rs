//! From a job to its training.

use std::path::Path;
use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_config::TrainSettings;
use patchwork_core::Seed;
use patchwork_dataset::ShardSet;
use patchwork_diffusion::PatchSides;
use patchwork_networks::Network;
use patchwork_terms::Kind;
use serde::Deserialize;

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
use super::watchdog::{Heartbeat, watched};
use super::{memory, setup};
use crate::device;
use crate::job::{execution, input};
use crate::network::network_config;

/// `class_conditional` with data that have no classes.
#[derive(Debug, thiserror::Error)]
#[error(
    "`class_conditional = true` needs labelled images, and the data set has no classes; \
     set `labels` in the prepare stage"
)]
struct NoClasses;

/// The settings of the pipeline file and the root seed, which the planner adds.
#[derive(Deserialize)]
struct SeededSettings {
    seed: u64,
    #[serde(flatten)]
    settings: TrainSettings,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let SeededSettings { seed, settings } = serde_json::from_value(job.settings.clone())?;
    let execution = execution(job)?;
    let device = device::configure(&execution)?;
    let data = ShardSet::open(&input(job, Kind::Prepare)?.folder)?;
    if settings.class_conditional && data.class_names().is_empty() {
        return Err(NoClasses.into());
    }
    let config = network_config(&settings, &data);
    let seed = Seed::new(seed).derive("train");
    let sides = PatchSides::pixel(config.height(), config.width(), settings.full_image_ratio)?;
    let network = Network::new(&config, device, seed.derive("initialisation").value())?;
    let ranks = Ranks::join(job, context, &execution, device)?;
    let checkpoints = if ranks.is_first() {
        Checkpoints::open(context.state())?
    } else {
        Checkpoints::of_another_process(context.state())
    };
    let begins = ranks.is_first() && !checkpoints.is_any()?;
    if begins {
        setup::initialise(&network, &settings, job, context)?;
    }
    let mut step = setup::train_step(&settings, &execution, network)?;
    let checked = memory::check(
        &mut step,
        &sides,
        u64::from(settings.batch_size).div_ceil(ranks.count().into()),
        settings.gradient_accumulation.into(),
        ranks.count(),
        execution.memory_gib,
    );
    match checked {
        // It has fitted before, and what lacks may be lent to others for a while.
        Err(problem) if !begins => {
            context.warn(format!(
                "{problem}; going on all the same, as it did before"
            ));
        }
        checked => checked?,
    }
    let folder = job.logs.join("tensorboard").join(&job.stage);
    let log_interval = Duration::from_secs_f64(execution.log_every_seconds);
    let heartbeat = Heartbeat::new();
    let batches = Batches::new(&data, &settings, seed, device)
        .shared(ranks.share())
        .gathered_ahead_on_cuda(&execution)?;
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
        learner: Learner::new(step, settings.duration_images),
        checkpoints: CheckpointKeeper::new(context, &execution, &heartbeat, checkpoints),
        snapshots: Snapshotter {
            context,
            settings: &settings,
            channels: data.channels(),
            device,
            heartbeat: &heartbeat,
            evaluation: if ranks.is_first() {
                SnapshotEvaluation::open(job, &settings, &data, context, device)?
            } else {
                None
            },
        },
        guard: DivergenceGuard::new(context, execution.on_divergence),
        telemetry: Telemetry::new(context, folder, log_interval),
        heartbeat: &heartbeat,
        is_first: ranks.is_first(),
        ranks,
    };
    if training.is_first {
        let is_resumed = training.checkpoints.restore(&mut training.learner)?;
        if let (false, Some(digest)) = (is_resumed, &settings.resume_from) {
            let path = job.execution["resume_file"].as_str().unwrap_or_default();
            let (learner, total) = (&mut training.learner, settings.duration_images);
            take_over(Path::new(path), digest.parse()?, total, learner)?;
            // From here on the file is not needed.
            training.checkpoints.save(learner)?;
        }
    }
    training.ranks.share_learner(&mut training.learner)?;
    let limits = Limits::start(&execution);
    let stall_limit = execution.stall_minutes.map(minutes);
    watched(context, &heartbeat, stall_limit, || training.run(&limits))?;
    training.finish()
}
