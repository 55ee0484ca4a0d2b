//! What a checkpoint holds of a training, and the way back.

use std::collections::BTreeMap;

use patchwork_pipeline::worker::StageError;
use tch::Tensor;

use super::checkpoint::State;
use super::divergence::Rollback;
use super::failures::dispensable;
use super::pulse::Doing;
use super::training::Training;

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
        self.step
            .denoiser
            .network
            .load(&checkpoint.tensors("network/", &self.buffers()))?;
        for (index, average) in self.step.averages.iter_mut().enumerate() {
            average.load(&checkpoint.tensors(&average_prefix(index), &BTreeMap::new()))?;
        }
        self.step.optimizer.load_state(&checkpoint.tensors)?;
        self.state = checkpoint.state;
        self.step.clock.images_seen = self.state.position.images_seen;
        Ok(true)
    }

    /// A checkpoint on the way: training is sound without it, so that a failure is told, and is to be made up for soon.
    /// Says whether there is one now.
    pub(super) fn try_checkpoint(&mut self) -> Result<bool, StageError> {
        let context = self.context;
        let saved = dispensable(context, "a checkpoint", || self.save_checkpoint())?;
        Ok(saved.is_some())
    }

    pub(super) fn save_checkpoint(&mut self) -> Result<(), StageError> {
        self.pulse.set(Doing::WritingCheckpoint);
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for parameter in self.step.denoiser.network.parameters() {
            tensors.push((format!("network/{}", parameter.name), parameter.tensor));
        }
        for (index, average) in self.step.averages.iter().enumerate() {
            let prefix = average_prefix(index);
            for (name, tensor) in average.to_tensors() {
                tensors.push((format!("{prefix}{name}"), tensor));
            }
        }
        tensors.extend(self.step.optimizer.state());
        self.checkpoints.save(&tensors, &self.state)?;
        self.remove_old_snapshots()
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
        self.save_checkpoint()?;
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
        0 => "ema/".to_owned(),
        _ => format!("ema.{index}/"),
    }
}
