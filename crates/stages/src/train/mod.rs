//! A data set to a network: Patch Diffusion's training, resumable at every checkpoint.
//!
//! Everything random in step k is a function of (seed, k); the state of a run is its checkpoint and nothing
//! else, so that a run killed at any moment ends with the same bytes as an undisturbed one.

mod ahead;
mod augmentation;
mod batch;
mod checkpoint;
mod checkpoint_file;
mod curve;
mod divergence;
mod events;
mod failures;
mod health;
mod host;
mod kept;
mod memory;
mod pulse;
mod setup;
mod snapshot_evaluation;
mod snapshots;
mod state;
mod training;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use patchwork_config::TrainSettings;
use patchwork_core::Seed;
use patchwork_dataset::ShardSet;
use patchwork_diffusion::PatchSides;
use patchwork_networks::Network;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::Job;
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_terms::Kind;
use serde::Deserialize;

use crate::device;
use crate::job::{execution, input};
use crate::network::network_config;
pub(crate) use augmentation::augment_options;
use batch::Batches;
pub(crate) use batch::one_hot;
#[cfg(test)]
pub(crate) use batch::tests::GENERATOR;
use checkpoint::Checkpoints;
use checkpoint_file::State;
use health::Health;
pub(crate) use kept::{KeptAverage, KeptAverages, RECORD_SUFFIX, record_file};
use pulse::Pulse;
pub(crate) use snapshot_evaluation::BEST_FILE;
use snapshot_evaluation::SnapshotEvaluation;
use training::Training;

/// The final network's file in the artifact.
pub(crate) const NETWORK_FILE: &str = "network.safetensors";

/// The file of the last checkpoint in the artifact, where `keep_checkpoint` has it kept.
const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// What the names of the snapshots' files begin with.
const SNAPSHOT_PREFIX: &str = "snapshot-";

/// The file of the network at an image count at which it was kept.
pub(crate) fn snapshot_file(images: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{images:09}.safetensors")
}

/// Settings that a train stage cannot go with, given its data.
#[derive(Debug, thiserror::Error)]
enum TrainError {
    #[error(
        "`class_conditional = true` needs labelled images, and the data set has no classes; \
         set `labels` in the prepare stage"
    )]
    NoClasses,
    #[error(
        "{problem} after {images_seen} images; `on_divergence` = \"rollback\" goes on from the last checkpoint with other \
         batches; or {remedy}"
    )]
    Diverged {
        problem: String,
        images_seen: u64,
        remedy: String,
    },
    #[error(
        "{problem} after {images_seen} images, and so it was after {rollbacks} rollbacks; {remedy}"
    )]
    KeepsDiverging {
        problem: String,
        images_seen: u64,
        rollbacks: usize,
        remedy: String,
    },
}

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
        return Err(TrainError::NoClasses.into());
    }
    let config = network_config(&settings, &data);
    let seed = Seed::new(seed).derive("train");
    let sides = PatchSides::pixel(config.height(), config.width(), settings.full_image_ratio)?;
    let network = Network::new(&config, device, seed.derive("initialisation").value())?;
    let checkpoints = Checkpoints::open(context.state())?;
    let begins = !checkpoints.is_any()?;
    if begins {
        setup::initialise(&network, &settings, job, context)?;
    }
    let mut step = setup::train_step(&settings, &execution, network)?;
    let checked = memory::check(
        &mut step,
        &sides,
        settings.batch_size.into(),
        settings.gradient_accumulation.into(),
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
    let mut training = Training {
        context,
        step,
        sides,
        data: &data,
        batches: Batches::new(&data, &settings, seed, device).gathered_ahead_on_cuda(&execution)?,
        checkpoints,
        state: State::new(settings.duration_images),
        evaluation: SnapshotEvaluation::open(job, &settings, &data, context, device)?,
        settings: &settings,
        execution: &execution,
        config: &config,
        device,
        health: Health::new(folder, log_interval),
        pulse: Arc::new(Pulse::new()),
        warned_at: None,
    };
    if let (false, Some(digest)) = (training.restore()?, &settings.resume_from) {
        let path = job.execution["resume_file"].as_str().unwrap_or_default();
        training.take_over(Path::new(path), digest.parse()?)?;
    }
    training.run()?;
    training.finish()
}
