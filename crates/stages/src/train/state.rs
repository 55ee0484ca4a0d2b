//! What a checkpoint holds of a training, and the way back.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_networks::checkpoint::{AVERAGE_PREFIX, TRAINED_PREFIX};
use patchwork_pipeline::worker::StageError;
use tch::Tensor;

use super::CHECKPOINT_FILE;
use super::checkpoint;
use super::checkpoint_file::{self, Checkpoint, CheckpointError, State};
use super::divergence::Rollback;
use super::failures::{dispensable, is_of_files, once_the_disk_takes_it};
use super::pulse::Doing;
use super::setup::check_surroundings;
use super::training::Training;

/// What the names of the optimiser's tensors begin with in a checkpoint.
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Why a training cannot go on from another one's checkpoint.
#[derive(Debug, thiserror::Error)]
enum ResumeError {
    #[error("`resume_from`: `{}` is not a checkpoint of a training that can be used: {problem}", .path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        problem: Box<CheckpointError>,
    },
    #[error(
        "`resume_from`: the training of `{}` is another than this one's [network] and `ema` say: {problem}; \
         `patchwork checkpoint inspect` shows its settings",
        .path.display()
    )]
    Unlike {
        path: PathBuf,
        #[source]
        problem: Box<dyn Error + Send + Sync>,
    },
    #[error(
        "`resume_from`: `{}` has seen {seen} images already, not fewer than `duration_images` = {total}",
        .path.display()
    )]
    Over {
        path: PathBuf,
        seen: u64,
        total: u64,
    },
}

impl Training<'_> {
    /// Goes on from the newest checkpoint that is whole; says whether there is one.
    pub(super) fn restore(&mut self) -> Result<bool, StageError> {
        let (found, damaged) = self.checkpoints.newest()?;
        for message in damaged {
            self.context.warn(message);
        }
        let Some(checkpoint) = found else {
            return Ok(false);
        };
        self.take_tensors(&checkpoint)?;
        self.state = checkpoint.state;
        self.step.clock.images_seen = self.state.position.images_seen;
        Ok(true)
    }

    /// Goes on from the checkpoint of another training, whose file is `resume_from`: from its weights, averages, moments
    /// and position, under this one's settings. What was measured and kept there is not taken along.
    pub(super) fn take_over(&mut self, path: &Path, digest: Digest) -> Result<(), StageError> {
        let checkpoint =
            checkpoint::of_another(path, digest).map_err(|problem| ResumeError::Unusable {
                path: path.to_owned(),
                problem: Box::new(problem),
            })?;
        let (seen, total) = (
            checkpoint.state.position.images_seen,
            self.settings.duration_images,
        );
        if seen >= total {
            return Err(ResumeError::Over {
                path: path.to_owned(),
                seen,
                total,
            }
            .into());
        }
        let unlike = |problem| {
            let path = path.to_owned();
            StageError::from(ResumeError::Unlike { path, problem })
        };
        if let Some(problem) = self.unlikeness(&checkpoint)? {
            return Err(unlike(problem.into()));
        }
        self.take_tensors(&checkpoint)
            .map_err(|problem| match problem {
                StageError::Failed(problem) if !is_of_files(&*problem) => unlike(problem),
                other => other,
            })?;
        self.state.position = checkpoint.state.position;
        self.state.snapshots.go_on_from(seen);
        self.step.clock.images_seen = seen;
        // From here on the file is not needed.
        self.save_checkpoint()
    }

    /// In what a checkpoint is of another network or of other averages, as far as its weights do not tell.
    fn unlikeness(&self, checkpoint: &Checkpoint) -> Result<Option<String>, StageError> {
        let given = checkpoint.network_config()?;
        let surroundings = given.map_or(Ok(()), |given| check_surroundings(&given, self.config));
        if let Err(problem) = surroundings {
            return Ok(Some(problem));
        }
        let averages = self.step.averages.len();
        let others = checkpoint.tensors_under(&average_prefix(averages))?;
        Ok((!others.is_empty()).then(|| format!("it has more averages than {averages}")))
    }

    fn take_tensors(&mut self, checkpoint: &Checkpoint) -> Result<(), StageError> {
        let step = &mut self.step;
        let network = &step.denoiser.network;
        // Those that are not trained are missing in checkpoints of earlier versions.
        let buffers = network.buffers().into_iter();
        let mut tensors: BTreeMap<String, Tensor> =
            buffers.map(|buffer| (buffer.name, buffer.tensor)).collect();
        tensors.extend(checkpoint.tensors(TRAINED_PREFIX)?);
        network.load(&tensors)?;
        drop(tensors);
        for (index, average) in step.averages.iter_mut().enumerate() {
            average.load(&checkpoint.tensors(&average_prefix(index))?)?;
        }
        let state = checkpoint.tensors_under(OPTIMIZER_PREFIX)?;
        step.optimizer.load_state(&state)?;
        Ok(())
    }

    /// A checkpoint on the way: training is sound without it, so that a failure is told, and is to be made up for soon.
    /// Says whether there is one now.
    pub(super) fn try_checkpoint(&mut self) -> Result<bool, StageError> {
        let context = self.context;
        let saved = dispensable(context, "a checkpoint", || self.save_checkpoint())?;
        Ok(saved.is_some())
    }

    /// A checkpoint without which what was trained since the last one would be lost.
    pub(super) fn save_needed_checkpoint(&mut self) -> Result<(), StageError> {
        let context = self.context;
        once_the_disk_takes_it(context, || self.save_checkpoint())
    }

    pub(super) fn save_checkpoint(&mut self) -> Result<(), StageError> {
        self.pulse.set(Doing::WritingCheckpoint);
        let tensors = self.tensors();
        self.checkpoints.save(&tensors, self.config, &self.state)?;
        self.remove_old_snapshots()
    }

    /// Keeps the last checkpoint in the artifact.
    pub(super) fn keep_checkpoint(&self) -> Result<(), StageError> {
        let path = self.context.artifact().join(CHECKPOINT_FILE);
        checkpoint_file::write(&path, &self.tensors(), self.config, &self.state)?;
        Ok(())
    }

    /// All that a checkpoint holds, as views.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let network = &self.step.denoiser.network;
        let mut tensors: Vec<(String, Tensor)> = network
            .named_tensors()
            .into_iter()
            .map(|entry| (format!("{TRAINED_PREFIX}{}", entry.name), entry.tensor))
            .collect();
        for (index, average) in self.step.averages.iter().enumerate() {
            let prefix = average_prefix(index);
            let views = average.named_views().into_iter();
            tensors.extend(views.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        tensors.extend(self.step.optimizer.state());
        tensors
    }

    /// Goes back to the newest checkpoint and passes over the batches since: the same ones would lead there again.
    pub(super) fn roll_back(&mut self) -> Result<Rollback, StageError> {
        let diverged = self.state.position;
        let State { rollbacks, .. } = self.state.clone();
        self.restore()?;
        let position = &mut self.state.position;
        let rollback = Rollback {
            from_images: diverged.images_seen,
            to_images: position.images_seen,
        };
        position.skipped_steps = diverged.draw() - position.step;
        position.images_drawn = diverged.images_drawn;
        self.state.range.calm();
        self.state.rollbacks = rollbacks;
        self.state.rollbacks.push(rollback.clone());
        // A kill from here on must not lead back to the batches that were passed over.
        self.save_needed_checkpoint()?;
        Ok(rollback)
    }

    /// What a network holds besides its parameters: filters and frequencies, the same for all its copies.
    pub(super) fn buffers(&self) -> BTreeMap<String, Tensor> {
        self.step
            .denoiser
            .network
            .buffers()
            .into_iter()
            .map(|buffer| (buffer.name, buffer.tensor))
            .collect()
    }
}

/// What the names of an average's tensors begin with in a checkpoint.
fn average_prefix(index: usize) -> String {
    match index {
        0 => AVERAGE_PREFIX.to_owned(),
        _ => format!("ema.{index}/"),
    }
}
