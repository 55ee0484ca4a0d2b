//! A data set to a network: Patch Diffusion's training, resumable at every checkpoint.
//!
//! Everything random in step k is a function of (seed, k); the state of a run is its checkpoint and nothing
//! else, so that a run killed at any moment ends with the same bytes as an undisturbed one.
//!
//! `stage` assembles a training from its job, `training` is the loop; the modules below them come in the order in which
//! they build on one another.

mod stage;
mod training;

mod divergence_guard;
mod ranks;
mod resume_from;
mod setup;
mod snapshotter;

mod checkpoint_keeper;
mod snapshot_evaluation;

mod checkpoint;
mod checkpoint_file;
mod learner;

mod ahead;
mod augmentation;
mod batch;
mod host;
mod patch_plan;

mod curve;
mod divergence;
mod kept;
mod position;
mod retention;

mod cadence;
mod limits;

mod events;
mod progress;
mod telemetry;
mod watchdog;

mod failures;
mod files;
mod measure;
mod memory;

pub(crate) use augmentation::augment_options;
pub(crate) use batch::one_hot;
#[cfg(test)]
pub(crate) use batch::tests::GENERATOR;
pub(crate) use cadence::Cadence;
pub(crate) use checkpoint::Checkpoints;
pub(crate) use checkpoint_file::{verify, write_tensors};
pub(crate) use failures::{caught, dispensable, once_the_disk_takes_it};
pub(crate) use files::{BEST_FILE, NETWORK_FILE, snapshot_file};
pub(crate) use kept::{KeptAverage, KeptAverages, RECORD_SUFFIX, record_file};
pub(crate) use measure::{Pace, mean_seconds, pace};
pub(crate) use stage::run;
