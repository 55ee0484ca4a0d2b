//! What training does about a divergence: stop, warn, or roll back to a checkpoint and skip the batches that led there.

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_diffusion::StepReport;
use patchwork_terms::OnDivergence;

use super::checkpoint_keeper::CheckpointKeeper;
use super::divergence::Rollback;
use super::learner::Learner;
use super::telemetry::Telemetry;

/// Rollbacks to one checkpoint, after which the one before it is taken, and in all, after which training gives up.
const ROLLBACKS: (usize, usize) = (3, 10);

/// Steps between two warnings of a divergence that is put up with.
const QUIET_STEPS: u64 = 1000;

/// A divergence that ends training.
#[derive(Debug, thiserror::Error)]
enum Divergence {
    #[error(
        "{problem} after {images_seen} images; `on_divergence` = \"rollback\" resumes from the last checkpoint with other \
         batches; or {remedy}"
    )]
    Stops {
        problem: String,
        images_seen: u64,
        remedy: String,
    },
    #[error(
        "{problem} after {images_seen} images, and so it was after {rollbacks} rollbacks; {remedy}"
    )]
    ComesBack {
        problem: String,
        images_seen: u64,
        rollbacks: usize,
        remedy: String,
    },
}

/// Looks at each step's loss.
pub(super) struct DivergenceGuard<'a> {
    context: &'a Context,
    policy: OnDivergence,
    /// The step of the last warning.
    warned_at: Option<u64>,
}

impl<'a> DivergenceGuard<'a> {
    pub(super) fn new(context: &'a Context, policy: OnDivergence) -> Self {
        Self {
            context,
            policy,
            warned_at: None,
        }
    }

    /// Whether a divergence leads back to a checkpoint, so that there has to be one from the first step on.
    pub(super) fn needs_checkpoint(&self) -> bool {
        self.policy == OnDivergence::Rollback
    }

    /// In what the step that was just done is a divergence, if it is one.
    pub(super) fn problem(report: &StepReport, learner: &Learner) -> Option<String> {
        let range = &learner.state.range;
        if !report.loss.is_finite() {
            Some(format!("the loss is {}", report.loss))
        } else if range.is_left() {
            let ratio = range.ratio();
            Some(format!(
                "the loss is about {ratio:.1} times as high as it had been"
            ))
        } else {
            None
        }
    }

    /// Deals with a divergence; says whether training rolled back.
    pub(super) fn rolls_back(
        &mut self,
        problem: &str,
        learner: &mut Learner,
        checkpoints: &mut CheckpointKeeper<'_>,
        telemetry: &mut Telemetry<'_>,
    ) -> Result<bool, StageError> {
        let images_seen = learner.images_seen();
        match self.policy {
            OnDivergence::Stop => Err(Divergence::Stops {
                problem: problem.to_owned(),
                images_seen,
                remedy: remedy(checkpoints)?,
            }
            .into()),
            OnDivergence::Continue => {
                let step = learner.state.position.step;
                if self.warned_at.is_none_or(|last| step >= last + QUIET_STEPS) {
                    self.warned_at = Some(step);
                    self.context.warn(format!(
                        "{problem} after {images_seen} images; continuing, as `on_divergence` = \"continue\" says"
                    ));
                }
                Ok(false)
            }
            OnDivergence::Rollback => {
                let to_images = self.roll_back(problem, learner, checkpoints)?;
                telemetry.resume_from(to_images);
                self.context.warn(format!(
                    "{problem} after {images_seen} images; back to the checkpoint at {to_images} images, \
                     passing over the batches since"
                ));
                Ok(true)
            }
        }
    }

    /// Rolls back, to an older checkpoint where the newest has led astray often enough; returns the images seen there.
    fn roll_back(
        &self,
        problem: &str,
        learner: &mut Learner,
        checkpoints: &mut CheckpointKeeper<'_>,
    ) -> Result<u64, StageError> {
        let images_seen = learner.images_seen();
        let to_images = skip_to_newest(learner, checkpoints)?;
        let all = &learner.state.rollbacks;
        let same = all.iter().filter(|one| one.to_images == to_images).count();
        let gives_up = all.len() > ROLLBACKS.1;
        if !gives_up && same <= ROLLBACKS.0 {
            return Ok(to_images);
        }
        if !gives_up && checkpoints.forget_newest()? {
            self.context.warn(format!(
                "training diverges whenever it resumes from the checkpoint at {to_images} images: it may have \
                 been astray already, and the one before it is taken"
            ));
            return skip_to_newest(learner, checkpoints);
        }
        Err(Divergence::ComesBack {
            problem: problem.to_owned(),
            images_seen,
            rollbacks: all.len() - 1,
            remedy: remedy(checkpoints)?,
        }
        .into())
    }
}

/// Goes back to the newest checkpoint and skips the batches since: the same ones would lead here again. Returns the images
/// seen at the checkpoint.
fn skip_to_newest(
    learner: &mut Learner,
    checkpoints: &mut CheckpointKeeper<'_>,
) -> Result<u64, StageError> {
    let diverged = learner.state.position;
    let rollbacks = std::mem::take(&mut learner.state.rollbacks);
    checkpoints.restore(learner)?;
    let state = &mut learner.state;
    let to_images = state.position.images_seen;
    state.position.skipped_steps = diverged.draw() - state.position.step;
    state.position.images_drawn = diverged.images_drawn;
    state.range.calm();
    state.rollbacks = rollbacks;
    state.rollbacks.push(Rollback {
        from_images: diverged.images_seen,
        to_images,
    });
    // A kill from here on must not lead back to the batches that were skipped.
    checkpoints.save_needed(learner)?;
    checkpoints.restart_cadence(to_images);
    Ok(to_images)
}

/// What helps against divergence, and how not to restart from scratch with it.
fn remedy(checkpoints: &CheckpointKeeper<'_>) -> Result<String, StageError> {
    const SETTINGS: &str = "lower `learning_rate`, lengthen `learning_rate_rampup_images`, or use \
                            `precision = \"float32\"`";
    Ok(match checkpoints.newest_finite_file()? {
        Some(path) => format!(
            "{SETTINGS}: another training, which starts from scratch unless it resumes from the newest checkpoint \
             with finite weights by `resume_from = \"{}\"`",
            path.display()
        ),
        None => SETTINGS.to_owned(),
    })
}
