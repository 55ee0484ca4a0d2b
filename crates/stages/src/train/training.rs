//! The loop of steps between two interruptions, and the artifact at its end.
//!
//! Each collaborator owns its state: [`Learner`] what a checkpoint holds, [`CheckpointKeeper`] when one is written,
//! [`Snapshotter`] the networks that are kept, [`DivergenceGuard`] what becomes of a loss that leaves its range,
//! [`Telemetry`] what is measured. A step depends on the seed and the learner's position alone.
//!
//! What the clock and signals decide is asked for in [`Training::due`] alone, where processes that train together agree on
//! it; what they compute comes together between [`TrainStep::accumulate`] and [`TrainStep::finish`], where the gradients
//! are one flat buffer. All else is a function of what they have in common, so that [`Ranks`] stands in few places.
//!
//! [`TrainStep::accumulate`]: patchwork_diffusion::TrainStep::accumulate
//! [`TrainStep::finish`]: patchwork_diffusion::TrainStep::finish

use std::time::Instant;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_diffusion::StepReport;
use patchwork_recipes::TrainSettings;
use serde_json::json;

use super::batch::Batches;
use super::checkpoint_keeper::CheckpointKeeper;
use super::divergence_guard::DivergenceGuard;
use super::learner::Learner;
use super::limits::Limits;
use super::patch_plan::PatchPlan;
use super::position::Position;
use super::progress::progress;
use super::ranks::Ranks;
use super::snapshotter::Snapshotter;
use super::telemetry::Telemetry;
use super::watchdog::{Activity, Heartbeat};
use crate::data::TrainingData;
use crate::shares::no_outcome;

/// A run of training between two interruptions.
pub(super) struct Training<'a> {
    pub(super) context: &'a Context,
    pub(super) settings: &'a TrainSettings,
    pub(super) data: &'a TrainingData,
    pub(super) plan: PatchPlan,
    pub(super) batches: Batches<'a>,
    pub(super) learner: Learner,
    pub(super) checkpoints: CheckpointKeeper<'a>,
    pub(super) snapshots: Snapshotter<'a>,
    pub(super) guard: DivergenceGuard<'a>,
    pub(super) telemetry: Telemetry<'a>,
    pub(super) heartbeat: &'a Heartbeat,
    pub(super) ranks: Ranks,
    /// Whether this process makes the artifact.
    pub(super) is_first: bool,
}

impl Training<'_> {
    /// Trains to the end, or to where it is stopped.
    pub(super) fn run(&mut self, limits: &Limits) -> Result<(), StageError> {
        let resumed = self.learner.images_seen();
        self.checkpoints.restart_cadence(resumed);
        if self.ranks.is_first() {
            self.telemetry.resume_from(resumed);
        }
        self.report_progress(resumed);
        if resumed == 0 && self.guard.needs_checkpoint() {
            self.ranks
                .on_first(|| self.checkpoints.save(&self.learner))?;
        }
        while self.learner.images_seen() < self.settings.duration_images {
            let [stops, snapshot, pauses, checkpoint] = self.due(limits)?;
            // First, since a snapshot takes its time and is made when training continues.
            if stops {
                return self.stop(StageError::Interrupted);
            }
            if snapshot {
                self.heartbeat.rest();
                let ranks = std::mem::take(&mut self.ranks);
                let taken = ranks.on_first(|| self.take_due_snapshots());
                self.ranks = ranks;
                taken?;
            }
            if pauses {
                let reached = self.limit(limits);
                return self.stop(reached.map_or(StageError::Interrupted, StageError::Paused));
            }
            if checkpoint {
                self.heartbeat.rest();
                self.ranks
                    .on_first(|| self.checkpoints.save_regular(&self.learner))?;
            }
            self.train_one_step()?;
            self.report_progress(resumed);
        }
        self.leave()
    }

    /// Leaves the other ranks, which takes as long as they do.
    fn leave(&mut self) -> Result<(), StageError> {
        self.heartbeat.set(Activity::WaitingForRanks);
        self.ranks.leave()?;
        self.heartbeat.rest();
        Ok(())
    }

    /// Ends training before its end, with all that was trained.
    fn stop(&mut self, why: StageError) -> Result<(), StageError> {
        self.heartbeat.rest();
        self.ranks
            .on_first(|| self.checkpoints.save_needed(&self.learner))?;
        self.leave()?;
        Err(why)
    }

    /// What is due before the next step: to stop, as this or another process was asked to; to take snapshots; to pause at a
    /// limit; to write a checkpoint. The same on all ranks, of which rank 0 decides all but the first.
    fn due(&mut self, limits: &Limits) -> Result<[bool; 4], StageError> {
        let is_interrupted = self.context.is_interrupted();
        let own = if self.ranks.is_first() {
            [
                is_interrupted,
                self.snapshots.due(&self.learner).is_some(),
                self.limit(limits).is_some(),
                self.checkpoints.is_due(&self.learner),
            ]
        } else {
            [is_interrupted, false, false, false]
        };
        Ok(self.ranks.any(own)?)
    }

    /// The limit of this attempt that is reached, in words.
    fn limit(&self, limits: &Limits) -> Option<String> {
        limits.reached(self.learner.images_seen(), self.settings.duration_images)
    }

    fn take_due_snapshots(&mut self) -> Result<(), StageError> {
        while let Some(due) = self.snapshots.due(&self.learner) {
            // Measuring takes its time, in which nothing of the training is to be lost.
            let is_saved = self.snapshots.measures() && self.checkpoints.try_save(&self.learner)?;
            let (learner, telemetry) = (&mut self.learner, &mut self.telemetry);
            match self.snapshots.take(due, learner, telemetry) {
                Err(StageError::Interrupted) if !is_saved => {
                    self.checkpoints.save_needed(&self.learner)?;
                    return Err(StageError::Interrupted);
                }
                taken => taken?,
            }
        }
        Ok(())
    }

    fn train_one_step(&mut self) -> Result<(), StageError> {
        let position = self.learner.state.position;
        let plan = self.plan.at(&position);
        let step_images = f64::from(self.settings.batch_size) * plan.images_multiplier;
        let images_seen = position.images_seen + step_images as u64;
        let is_last = images_seen >= self.settings.duration_images;
        let is_recorded = self.ranks.is_first() && (is_last || self.telemetry.is_due());
        self.heartbeat.set(Activity::ReadingData);
        let begin = Instant::now();
        let images = self.batches.read(&position, plan.side)?;
        self.telemetry.waited_for_data(begin.elapsed());
        self.heartbeat.set(Activity::Computing);
        let round = self.batches.round(&position, images)?;
        let images = self.batches.step_images(plan.side);
        let next = Position {
            step: position.step + 1,
            images_seen,
            images_drawn: position.images_drawn + images,
            ..position
        };
        let step = &mut self.learner.step;
        step.measures_update = is_recorded;
        step.begin();
        for part in self.batches.parts(&round) {
            step.accumulate(&part, plan.side);
        }
        // While a GPU works on what is queued, and before the wait for its report.
        self.batches.expect(&next, self.plan.at(&next).side);
        self.ranks.reduce(step, plan.side)?;
        let report = step.finish(plan);
        self.heartbeat.stepped(begin.elapsed());
        self.learner.advance(next, &report);
        self.telemetry.add(&report, images);
        self.record(&report, is_recorded)
    }

    /// Deals with what a step reports: a divergence, or a point of the curves.
    fn record(&mut self, report: &StepReport, is_recorded: bool) -> Result<(), StageError> {
        let mut rolled_back = false;
        // The same on all ranks, of which rank 0 has the checkpoints.
        if let Some(problem) = DivergenceGuard::problem(report, &self.learner) {
            // It may have to wait for the disk.
            self.heartbeat.rest();
            let dealt = self.ranks.on_first(|| {
                self.guard.rolls_back(
                    &problem,
                    &mut self.learner,
                    &mut self.checkpoints,
                    &mut self.telemetry,
                )
            })?;
            [rolled_back] = self.ranks.any([dealt == Some(true)])?;
            if rolled_back {
                self.ranks.share_learner(&mut self.learner)?;
            }
        }
        if is_recorded && !rolled_back {
            let loss_ratio = self.learner.state.range.ratio();
            self.telemetry.record(report, loss_ratio);
        }
        Ok(())
    }

    fn report_progress(&self, resumed: u64) {
        let loss = self.learner.state.curve.last();
        let note = if loss.is_finite() {
            format!("loss {loss:.4}")
        } else {
            String::new()
        };
        let images_seen = self.learner.images_seen();
        self.context
            .progress(progress(self.settings, images_seen, resumed, note));
    }

    /// Makes the artifact, on rank 0. Whatever fails in it, training is over by then: only this part is done again.
    pub(super) fn finish(mut self) -> Result<Outcome, StageError> {
        if !self.is_first {
            return Ok(no_outcome());
        }
        self.checkpoints.save_needed(&self.learner)?;
        let saved = self.learner.state.snapshots.clone();
        self.take_due_snapshots()?;
        self.snapshots
            .finish(&mut self.learner, &mut self.telemetry)?;
        // A snapshot is removed once no checkpoint that training resumes from lists it.
        if self.learner.state.snapshots != saved {
            self.checkpoints.save_needed(&self.learner)?;
        }
        self.heartbeat.rest();
        self.snapshots.discard_others(&self.learner)?;
        if self.settings.keep_checkpoint {
            self.checkpoints.keep_last(&self.learner)?;
        }
        let state = &self.learner.state;
        let artifact = self.context.artifact();
        durable::write(&artifact.join("loss.png"), &state.curve.plot()?)?;
        durable::write_json(&artifact.join("loss.json"), &state.curve)?;
        let mut summary = json!({
            "report": format!(
                "trained {} parameters on {} images seen in {} steps",
                self.learner.parameter_count(),
                state.position.images_seen,
                state.position.step,
            ),
            "images_seen": state.position.images_seen,
            "images_drawn": state.position.images_drawn,
            "steps": state.position.step,
            "parameters": self.learner.parameter_count(),
            "final_loss": state.curve.last(),
            "class_names": self.data.class_names(),
            "class_counts": self.data.label_counts(),
        });
        if let Some(images) = state.snapshots.best() {
            summary["best_snapshot"] = json!(images);
        }
        if let Some(best) = self.snapshots.best(&self.learner)? {
            summary["best"] = best;
        }
        if !state.rollbacks.is_empty() {
            summary["rollbacks"] = json!(state.rollbacks);
        }
        Ok(Outcome::new(summary, Vec::new()))
    }
}
