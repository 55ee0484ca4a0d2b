//! The loop of steps between two interruptions.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use patchwork_config::{Execution, TrainSettings, images_of_kimg};
use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_diffusion::{PatchSides, StepPlan, StepReport, TrainStep};
use patchwork_networks::NetworkConfig;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::Progress;
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_terms::OnDivergence;
use serde_json::json;
use tch::Device;

use super::batch::Batches;
use super::checkpoint::Checkpoints;
use super::checkpoint_file::{Position, State};
use super::failures::once_the_disk_takes_it;
use super::health::Health;
use super::pulse::{self, Doing, Pulse};
use super::snapshot_evaluation::SnapshotEvaluation;
use super::{NETWORK_FILE, TrainError};

/// Steps for which a due checkpoint waits while the loss is about to leave its range.
const LONGEST_POSTPONEMENT: u64 = 100;

/// How long training goes on before a checkpoint that could not be written is tried again.
const FAILURE_PAUSE: Duration = Duration::from_mins(1);

/// Rollbacks to one checkpoint, after which the one before it is taken, and in all, after which training gives up.
const ROLLBACKS: (usize, usize) = (3, 10);

/// Steps between two warnings of a divergence that is put up with.
const QUIET_STEPS: u64 = 1000;

/// A run of training between two interruptions.
pub(super) struct Training<'a> {
    pub(super) context: &'a Context,
    pub(super) step: TrainStep,
    pub(super) sides: PatchSides,
    pub(super) data: &'a ShardSet,
    pub(super) batches: Batches<'a>,
    pub(super) checkpoints: Checkpoints,
    pub(super) state: State,
    pub(super) evaluation: Option<SnapshotEvaluation<'a>>,
    pub(super) settings: &'a TrainSettings,
    pub(super) execution: &'a Execution,
    pub(super) config: &'a NetworkConfig,
    pub(super) device: Device,
    pub(super) health: Health,
    pub(super) pulse: Arc<Pulse>,
    /// The step of the last warning of a divergence.
    pub(super) warned_at: Option<u64>,
}

impl Training<'_> {
    /// Trains to the end, with a watch beside it that tells of stalls.
    pub(super) fn run(&mut self) -> Result<(), StageError> {
        let context = self.context;
        let pulse = Arc::clone(&self.pulse);
        let limits = pulse::Limits {
            look: Duration::from_secs(1),
            shortest: Duration::from_mins(1),
            longest: self.execution.stall_minutes.map(minutes),
        };
        std::thread::scope(|scope| {
            let (training, over) = channel::<()>();
            scope.spawn(move || {
                let give_up = |text| context.abandon(text);
                pulse::watch(&pulse, limits, &over, |text| context.warn(text), give_up);
            });
            let result = self.steps();
            drop(training);
            result
        })
    }

    fn steps(&mut self) -> Result<(), StageError> {
        let resumed = self.state.position.images_seen;
        let begin = Instant::now();
        let mut cadence = Cadence::new(self.execution, resumed);
        self.health.go_on_from(self.context, resumed);
        self.report_progress(resumed);
        if resumed == 0 && self.execution.on_divergence == OnDivergence::Rollback {
            self.save_checkpoint()?;
        }
        while self.state.position.images_seen < self.settings.duration_images {
            // First, since a snapshot takes its time and is made when training goes on.
            if self.context.is_interrupted() {
                self.save_needed_checkpoint()?;
                return Err(StageError::Interrupted);
            }
            self.save_due_snapshots()?;
            if let Some(limit) = self.limit(begin.elapsed()) {
                self.save_needed_checkpoint()?;
                return Err(StageError::Paused(limit));
            }
            let seen = self.state.position.images_seen;
            if cadence.is_due(seen) && !cadence.postpone(self.state.range.is_nearly_left()) {
                if self.try_checkpoint()? {
                    cadence = Cadence::new(self.execution, seen);
                } else {
                    cadence.wait();
                }
            }
            self.train_one_step()?;
            let position = self.state.position.images_seen;
            if position < seen {
                cadence = Cadence::new(self.execution, position);
            }
            self.report_progress(resumed);
        }
        self.pulse.rest();
        Ok(())
    }

    /// The limit that was reached, in words.
    fn limit(&self, elapsed: Duration) -> Option<String> {
        let seen = self.state.position.images_seen;
        let stopped = |limit: String, remedy: &str| {
            let total = self.settings.duration_images;
            Some(format!(
                "stopped at {limit}, {seen} of {total} images seen; {remedy}"
            ))
        };
        match (self.execution.max_kimg, self.execution.max_minutes) {
            (Some(kimg), _) if seen >= images_of_kimg(kimg) => stopped(
                format!("`max_kimg` = {kimg}"),
                "it goes on from there when run with a larger one",
            ),
            (_, Some(limit)) if elapsed >= minutes(limit) => stopped(
                format!("`max_minutes` = {limit}"),
                "it goes on from there when run again",
            ),
            _ => None,
        }
    }

    /// What the step at a position trains.
    fn plan(&self, position: &Position) -> StepPlan {
        let progress = position.images_seen as f64 / self.settings.duration_images as f64;
        let draw = self.batches.side_draw(position.draw());
        (self.sides).plan(self.settings.patch_schedule, draw, progress)
    }

    fn train_one_step(&mut self) -> Result<(), StageError> {
        let position = self.state.position;
        let plan = self.plan(&position);
        let step_images = f64::from(self.settings.batch_size) * plan.images_multiplier;
        let images_seen = position.images_seen + step_images as u64;
        let is_last = images_seen >= self.settings.duration_images;
        let is_recorded = is_last || self.health.is_due();
        self.pulse.set(Doing::ReadingData);
        let begin = Instant::now();
        let images = self.batches.read(&position, plan.side)?;
        self.health.waited_for_data(begin.elapsed().as_secs_f64());
        self.pulse.set(Doing::Computing);
        let round = self.batches.round(&position, images)?;
        let images = round.rows.len() as u64;
        let next = Position {
            step: position.step + 1,
            images_seen,
            images_drawn: position.images_drawn + images,
            ..position
        };
        self.step.measures_update = is_recorded;
        self.step.begin();
        for part in self.batches.parts(&round) {
            self.step.accumulate(&part, plan.side);
        }
        // While a GPU works on what it has been told so far, and before the wait for its report.
        self.batches.expect(&next, self.plan(&next).side);
        let report = self.step.finish(plan);
        self.pulse.stepped(begin.elapsed().as_secs_f64());
        let after = &mut self.state.position;
        after.step += 1;
        after.images_drawn += images;
        after.images_seen = report.images_seen_after;
        self.health.add(&report, images);
        if report.loss.is_finite() {
            self.state.curve.add(position.images_seen, &report);
            self.state
                .range
                .add(report.side.side(), report.pixel_loss());
        }
        if self.went_back(&report)? {
            return Ok(());
        }
        if is_recorded {
            self.health
                .record(self.context, &report, self.state.range.ratio());
        }
        Ok(())
    }

    /// Deals with a divergence, if there is one; says whether training went back to a checkpoint.
    fn went_back(&mut self, report: &StepReport) -> Result<bool, StageError> {
        let problem = if !report.loss.is_finite() {
            format!("the loss is {}", report.loss)
        } else if self.state.range.is_left() {
            let ratio = self.state.range.ratio();
            format!("the loss is about {ratio:.1} times as high as it had been")
        } else {
            return Ok(false);
        };
        let images_seen = self.state.position.images_seen;
        match self.execution.on_divergence {
            OnDivergence::Stop => Err(TrainError::Diverged {
                problem,
                images_seen,
                remedy: self.remedy()?,
            }
            .into()),
            OnDivergence::Continue => {
                let step = self.state.position.step;
                if self.warned_at.is_none_or(|last| step >= last + QUIET_STEPS) {
                    self.warned_at = Some(step);
                    self.context.warn(format!(
                        "{problem} after {images_seen} images; going on, as `on_divergence` = \"continue\" says"
                    ));
                }
                Ok(false)
            }
            OnDivergence::Rollback => {
                let mut to_images = self.roll_back()?.to_images;
                let all = &self.state.rollbacks;
                let same = all.iter().filter(|one| one.to_images == to_images).count();
                let gives_up = all.len() > ROLLBACKS.1;
                if !gives_up && same > ROLLBACKS.0 && self.checkpoints.forget_newest()? {
                    self.context.warn(format!(
                        "training diverges whenever it goes on from the checkpoint at {to_images} images: it may have \
                         been astray already, and the one before it is taken"
                    ));
                    to_images = self.roll_back()?.to_images;
                } else if gives_up || same > ROLLBACKS.0 {
                    return Err(TrainError::KeepsDiverging {
                        problem,
                        images_seen,
                        rollbacks: all.len() - 1,
                        remedy: self.remedy()?,
                    }
                    .into());
                }
                self.health.go_on_from(self.context, to_images);
                self.context.warn(format!(
                    "{problem} after {images_seen} images; back to the checkpoint at {to_images} images, \
                     passing over the batches since"
                ));
                Ok(true)
            }
        }
    }

    /// What helps against divergence, and how not to begin anew with it.
    fn remedy(&self) -> Result<String, StageError> {
        const SETTINGS: &str = "lower `learning_rate`, lengthen `learning_rate_rampup_images`, or use \
                                `precision = \"float32\"`";
        Ok(match self.checkpoints.newest_file()? {
            Some(path) => format!(
                "{SETTINGS}: another training, which begins anew unless it goes on from the last checkpoint with \
                 `resume_from = \"{}\"`",
                path.display()
            ),
            None => SETTINGS.to_owned(),
        })
    }

    /// Makes the artifact. Whatever fails in it, training is over by then: only this part is done again.
    pub(super) fn finish(mut self) -> Result<Outcome, StageError> {
        self.save_needed_checkpoint()?;
        self.save_due_snapshots()?;
        let context = self.context;
        once_the_disk_takes_it(context, || self.save_networks(NETWORK_FILE))?;
        self.make_up_for_failures()?;
        self.save_samples_at_last(NETWORK_FILE, self.state.position.images_seen)?;
        self.measure_at_last(NETWORK_FILE, self.state.position.images_seen)?;
        self.remove_snapshots_but(std::slice::from_ref(&self.state.snapshots))?;
        if self.settings.keep_checkpoint {
            once_the_disk_takes_it(context, || self.keep_checkpoint())?;
        }
        let State {
            position, curve, ..
        } = &self.state;
        let artifact = self.context.artifact();
        durable::write(&artifact.join("loss.png"), &curve.plot()?)?;
        durable::write_json(&artifact.join("loss.json"), curve)?;
        let parameters: usize = self
            .step
            .denoiser
            .network
            .parameters()
            .iter()
            .map(|parameter| parameter.tensor.numel())
            .sum();
        let mut summary = json!({
            "images_seen": position.images_seen,
            "images_drawn": position.images_drawn,
            "steps": position.step,
            "parameters": parameters,
            "final_loss": curve.last(),
            "class_names": self.data.class_names(),
            "class_counts": self.data.label_counts(),
        });
        if let Some(images) = self.state.snapshots.best() {
            summary["best_snapshot"] = json!(images);
        }
        if let Some(evaluation) = &self.evaluation {
            summary["best"] =
                evaluation.finish(self.state.snapshots.best(), self.state.position.images_seen)?;
        }
        if !self.state.rollbacks.is_empty() {
            summary["rollbacks"] = json!(self.state.rollbacks);
        }
        Ok(Outcome::new(summary, Vec::new()))
    }

    fn report_progress(&self, resumed: u64) {
        let loss = self.state.curve.last();
        self.context.progress(Progress {
            done: self
                .state
                .position
                .images_seen
                .min(self.settings.duration_images),
            total: self.settings.duration_images,
            resumed,
            unit: "images".to_owned(),
            note: if loss.is_finite() {
                format!("loss {loss:.4}")
            } else {
                String::new()
            },
        });
    }
}

/// When the next checkpoint is due.
struct Cadence {
    since: Instant,
    interval: Duration,
    at_images: Option<u64>,
    postponed_steps: u64,
    /// When one that failed is tried again.
    not_before: Option<Instant>,
}

impl Cadence {
    fn new(execution: &Execution, images_seen: u64) -> Self {
        Self {
            since: Instant::now(),
            interval: minutes(execution.checkpoint_minutes),
            // At multiples, so that it is due at the same images whenever training was resumed.
            at_images: execution.checkpoint_kimg.map(|kimg| {
                let interval = images_of_kimg(kimg);
                (images_seen / interval + 1) * interval
            }),
            postponed_steps: 0,
            not_before: None,
        }
    }

    fn is_due(&self, images_seen: u64) -> bool {
        let is_at_hand = self.since.elapsed() >= self.interval
            || self.at_images.is_some_and(|images| images_seen >= images);
        is_at_hand
            && self
                .not_before
                .is_none_or(|moment| Instant::now() >= moment)
    }

    /// Lets some time pass after a failure.
    fn wait(&mut self) {
        self.not_before = Some(Instant::now() + FAILURE_PAUSE);
    }

    /// Whether a due checkpoint waits for another step: not to keep weights from which there is no way back.
    fn postpone(&mut self, is_doubtful: bool) -> bool {
        self.postponed_steps += 1;
        is_doubtful && self.postponed_steps <= LONGEST_POSTPONEMENT
    }
}

fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX)
}
