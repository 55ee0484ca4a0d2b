//! What became of a run and of its stages.

use std::path::PathBuf;
use std::time::Duration;

use patchwork_artifacts::{Outcome, StageStatus};
use patchwork_core::Fingerprint;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The run's name.
    pub run: String,
    /// The stages in the order of the plan.
    pub stages: Vec<StageResult>,
    /// The signal that stopped it: 2 or 15.
    pub signal: Option<i32>,
    /// Why not all of it could be recorded, the error and its causes; empty if all of it is.
    pub unrecorded: Vec<String>,
}

/// What became of a stage.
#[derive(Clone, Debug)]
pub struct StageResult {
    /// The stage's name.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// What became of it.
    pub status: StageStatus,
    /// How long it took in this run.
    pub duration: Duration,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its artifact's folder, complete if it succeeded or was cached.
    pub folder: PathBuf,
    /// What it found, if it succeeded or was cached.
    pub outcome: Option<Outcome>,
    /// The error and its causes, if it failed.
    pub error: Vec<String>,
    /// Its log.
    pub log: PathBuf,
}

impl RunOutcome {
    /// Whether a stage stopped at a limit that it was given, and none failed.
    pub fn is_paused(&self) -> bool {
        let is = |status| self.stages.iter().any(|stage| stage.status == status);
        is(StageStatus::Interrupted) && !is(StageStatus::Failed)
    }

    /// Whether every stage succeeded or was cached.
    pub fn is_success(&self) -> bool {
        self.stages.iter().all(|stage| stage.outcome.is_some())
    }

    /// Whether all of it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.unrecorded.is_empty()
    }
}
