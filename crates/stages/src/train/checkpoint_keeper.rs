//! When a training writes its checkpoints, and how it gets back to one.

use std::path::PathBuf;

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::FileError;
use patchwork_recipes::Execution;

use super::cadence::Cadence;
use super::checkpoint::Checkpoints;
use super::checkpoint_file::{self, Checkpoint};
use super::failures::{dispensable, once_the_disk_takes_it};
use super::files::CHECKPOINT_FILE;
use super::learner::Learner;
use super::retention;
use super::watchdog::{Activity, Heartbeat};

/// Writes the checkpoints of one training.
pub(super) struct CheckpointKeeper<'a> {
    context: &'a Context,
    heartbeat: &'a Heartbeat,
    checkpoints: Checkpoints,
    cadence: Cadence,
    /// Checkpoints that were not written since what they would have held was non-finite.
    refused: u64,
}

impl<'a> CheckpointKeeper<'a> {
    pub(super) fn new(
        context: &'a Context,
        execution: &Execution,
        heartbeat: &'a Heartbeat,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            context,
            heartbeat,
            checkpoints,
            cadence: Cadence::start(execution, 0),
            refused: 0,
        }
    }

    /// Counts time and images to the next regular checkpoint from here on.
    pub(super) fn restart_cadence(&mut self, images_seen: u64) {
        self.cadence.restart(images_seen);
    }

    /// Brings a training to its newest checkpoint that is whole; says whether there is one.
    pub(super) fn restore(&mut self, learner: &mut Learner) -> Result<bool, StageError> {
        let (found, damaged) = self.checkpoints.newest(Checkpoint::open)?;
        for message in damaged {
            self.context.warn(message);
        }
        let Some(checkpoint) = found else {
            return Ok(false);
        };
        learner.load_tensors(&checkpoint)?;
        learner.set_state(checkpoint.state);
        Ok(true)
    }

    /// Removes the newest checkpoint if there is an older one to resume from; says whether it was so.
    pub(super) fn forget_newest(&mut self) -> Result<bool, FileError> {
        self.checkpoints.forget_newest()
    }

    /// The tensors' file of the newest checkpoint that is whole and has finite weights.
    pub(super) fn newest_finite_file(&self) -> Result<Option<PathBuf>, FileError> {
        self.checkpoints.newest_file(checkpoint_file::is_finite)
    }

    /// Whether the regular checkpoint is due.
    pub(super) fn is_due(&mut self, learner: &Learner) -> bool {
        let is_doubtful = learner.state.range.is_nearly_left();
        self.cadence.is_due(learner.images_seen(), is_doubtful)
    }

    /// Writes the regular checkpoint.
    pub(super) fn save_regular(&mut self, learner: &Learner) -> Result<(), StageError> {
        if self.try_save(learner)? {
            self.cadence.restart(learner.images_seen());
        } else {
            self.cadence.pause();
        }
        Ok(())
    }

    /// A checkpoint on the way: training is sound without it, so that a failure is a warning, and another one is written
    /// soon. Says whether there is one now.
    pub(super) fn try_save(&mut self, learner: &Learner) -> Result<bool, StageError> {
        let saved = dispensable(self.context, "a checkpoint", || self.save(learner))?;
        Ok(saved == Some(true))
    }

    /// A checkpoint without which what was trained since the last one would be lost.
    pub(super) fn save_needed(&mut self, learner: &Learner) -> Result<(), StageError> {
        let (context, heartbeat) = (self.context, self.heartbeat);
        once_the_disk_takes_it(context, || heartbeat.beat(), || self.save(learner))?;
        Ok(())
    }

    /// Writes a checkpoint, unless its numbers are non-finite: nothing could be resumed from it, and it would take the place
    /// of one that is sound. Says whether there is one now.
    pub(super) fn save(&mut self, learner: &Learner) -> Result<bool, StageError> {
        self.heartbeat.set(Activity::WritingCheckpoint);
        if !learner.step.is_finite() {
            self.refuse(learner.images_seen());
            self.heartbeat.rest();
            return Ok(false);
        }
        let (tensors, state) = (learner.tensors(), &learner.state);
        self.checkpoints.save(state.position.step, |path| {
            checkpoint_file::write(path, &tensors, learner.config(), state)
        })?;
        // Training may roll back to any checkpoint, so that a snapshot stays while one of them lists it.
        if let Some(listed) = self.checkpoints.listed_snapshots()? {
            retention::remove_all_but(&listed, self.context.artifact())?;
        }
        self.heartbeat.rest();
        Ok(true)
    }

    fn refuse(&mut self, images_seen: u64) {
        self.refused += 1;
        let count = self.refused;
        self.context.warn(format!(
            "the checkpoint at {images_seen} images is not written, since weights, averages or moments are non-finite; \
             those before it stay ({count} not written since this process began)"
        ));
    }

    /// Keeps the state at the end of training in the artifact.
    pub(super) fn keep_last(&self, learner: &Learner) -> Result<(), StageError> {
        let beat = || self.heartbeat.beat();
        once_the_disk_takes_it(self.context, beat, || {
            let path = self.context.artifact().join(CHECKPOINT_FILE);
            let (tensors, state) = (learner.tensors(), &learner.state);
            checkpoint_file::write(&path, &tensors, learner.config(), state)?;
            Ok(())
        })
    }
}
