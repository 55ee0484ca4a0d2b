//! What the journal writes into the registry.

use patchwork_core::Fingerprint;
use patchwork_registry::{AttemptEnd, MetricPoint, NewArtifact, NewScore, RunStatus, StageStatus};

/// One write to the registry. Attempts are counted over the run, from 0, in the order of their start; times, RFC 3339
/// in UTC, tell when it happened, not when it is written.
pub(crate) enum Row {
    AttemptStarted {
        stage: String,
        number: u32,
        pid: u32,
        time: String,
    },
    AttemptEnded {
        attempt: usize,
        end: AttemptEnd,
    },
    Resources {
        attempt: usize,
        cpu_seconds: f64,
        peak_memory_bytes: u64,
    },
    Points {
        stage: String,
        points: Vec<MetricPoint>,
    },
    DropPointsAfter {
        stage: String,
        step: i64,
    },
    Warning {
        stage: String,
        message: String,
        time: String,
    },
    Artifact {
        artifact: Box<NewArtifact>,
        time: String,
    },
    Score {
        stage: String,
        score: Box<NewScore>,
    },
    Stage {
        stage: String,
        status: StageStatus,
        artifact: Option<Fingerprint>,
        time: String,
    },
    RunEnded {
        status: RunStatus,
        time: String,
    },
}

impl Row {
    /// The stage that it is about, where it names one.
    pub(crate) fn stage(&self) -> Option<&str> {
        match self {
            Self::AttemptStarted { stage, .. }
            | Self::Points { stage, .. }
            | Self::DropPointsAfter { stage, .. }
            | Self::Warning { stage, .. }
            | Self::Score { stage, .. }
            | Self::Stage { stage, .. } => Some(stage),
            Self::AttemptEnded { .. }
            | Self::Resources { .. }
            | Self::Artifact { .. }
            | Self::RunEnded { .. } => None,
        }
    }
}
