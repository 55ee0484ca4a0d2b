//! From the checkpoint of another training: `resume_from`.

use std::error::Error;
use std::path::{Path, PathBuf};

use patchwork_artifacts::worker::StageError;
use patchwork_core::Digest;

use super::checkpoint;
use super::checkpoint_file::CheckpointError;
use super::failures::is_of_files;
use super::learner::Learner;

/// Why a training cannot resume from another one's checkpoint.
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

/// Brings a training of `total` images to where the checkpoint in a file stands: its weights, averages, moments and
/// position, under this training's settings. What was measured and retained there is not taken along.
pub(super) fn take_over(
    path: &Path,
    digest: Digest,
    total: u64,
    learner: &mut Learner,
) -> Result<(), StageError> {
    let checkpoint =
        checkpoint::of_another(path, digest).map_err(|problem| ResumeError::Unusable {
            path: path.to_owned(),
            problem: Box::new(problem),
        })?;
    let seen = checkpoint.state.position.images_seen;
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
    if let Some(problem) = learner.unlikeness(&checkpoint)? {
        return Err(unlike(problem.into()));
    }
    learner
        .load_tensors(&checkpoint)
        .map_err(|problem| match problem {
            StageError::Failed(problem) if !is_of_files(&*problem) => unlike(problem),
            other => other,
        })?;
    let mut state = learner.state.clone();
    state.position = checkpoint.state.position;
    state.snapshots.resume_from(seen);
    learner.set_state(state);
    Ok(())
}
