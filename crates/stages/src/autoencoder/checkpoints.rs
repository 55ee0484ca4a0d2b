//! When an autoencoder's training writes its checkpoints, and how it gets back to one.

use std::path::{Path, PathBuf};

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::{FileError, durable};
use patchwork_recipes::Execution;

use super::training::{AutoencoderError, AutoencoderTraining};
use crate::train::{Cadence, Checkpoints, dispensable, once_the_disk_takes_it, verify};

/// The only checkpoint of earlier versions, which has no record.
const EARLIER_FILE: &str = "checkpoint.safetensors";

/// A checkpoint of an earlier version that cannot be resumed from.
#[derive(Debug, thiserror::Error)]
#[error(
    "the checkpoint `{}` cannot be used: {problem}\nhint: restore it, or delete it to train the autoencoder from scratch",
    .path.display()
)]
struct Unusable {
    path: PathBuf,
    #[source]
    problem: Box<AutoencoderError>,
}

/// Whether a file is there; a disk that does not say so is an error, or training would start from scratch.
fn exists(path: &Path) -> Result<bool, FileError> {
    path.try_exists()
        .map_err(|source| FileError::new("look for", path, source))
}

/// Writes the checkpoints of one training.
pub(super) struct Keeper<'a> {
    context: &'a Context,
    checkpoints: Checkpoints,
    cadence: Cadence,
}

impl<'a> Keeper<'a> {
    /// Brings a training to its newest checkpoint that is whole, if there is one.
    pub(super) fn resume(
        context: &'a Context,
        execution: &Execution,
        training: &mut AutoencoderTraining,
    ) -> Result<Self, StageError> {
        let mut checkpoints = Checkpoints::open(context.state())?;
        let (found, damaged) = checkpoints.newest(|path, digest| {
            verify(path, digest)?;
            Ok(path.to_owned())
        })?;
        for message in damaged {
            context.warn(message);
        }
        let earlier = context.state().join(EARLIER_FILE);
        if let Some(path) = found {
            training.resume(&path)?;
        } else if exists(&earlier)? {
            training.resume(&earlier).map_err(|problem| Unusable {
                path: earlier,
                problem: Box::new(problem),
            })?;
        }
        Ok(Self {
            context,
            checkpoints,
            cadence: Cadence::start(execution, training.images()),
        })
    }

    /// Whether the regular checkpoint is due.
    pub(super) fn is_due(&mut self, training: &AutoencoderTraining) -> bool {
        self.cadence.is_due(training.images(), false)
    }

    /// Writes the regular checkpoint; a failure is a warning, and another one is written soon.
    pub(super) fn save_regular(
        &mut self,
        training: &AutoencoderTraining,
    ) -> Result<(), StageError> {
        let saved = dispensable(self.context, "a checkpoint", || self.save(training))?;
        if saved == Some(true) {
            self.cadence.restart(training.images());
        } else {
            self.cadence.pause();
        }
        Ok(())
    }

    /// A checkpoint without which what was trained since the last one would be lost.
    pub(super) fn save_needed(&mut self, training: &AutoencoderTraining) -> Result<(), StageError> {
        once_the_disk_takes_it(self.context, || (), || self.save(training))?;
        Ok(())
    }

    /// Writes a checkpoint unless its numbers would be non-finite; says whether there is one now.
    fn save(&mut self, training: &AutoencoderTraining) -> Result<bool, StageError> {
        if !training.is_finite() {
            self.context.warn(format!(
                "the checkpoint at {} crops is not written, since weights or moments are non-finite; those before it stay",
                training.images()
            ));
            return Ok(false);
        }
        (self.checkpoints).save(training.steps(), |path| training.save(path))?;
        // There is a newer one now.
        durable::remove_file(&self.context.state().join(EARLIER_FILE))?;
        Ok(true)
    }
}
