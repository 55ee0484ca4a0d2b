//! What a run reports to its observer.

use patchwork_artifacts::event::Progress;

use crate::result::StageResult;
use crate::signals::Signals;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Update {
    /// The run has its name.
    RunStarted {
        /// The run's name, such as `celeba-3`.
        run: String,
    },
    /// A worker was started on a stage.
    StageStarted {
        /// The stage.
        stage: String,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// Another process works on the same artifact.
    StageWaiting {
        /// The stage.
        stage: String,
    },
    /// A stage is so far.
    StageProgress {
        /// The stage.
        stage: String,
        /// How far.
        progress: Progress,
    },
    /// A stage has a warning.
    StageWarning {
        /// The stage.
        stage: String,
        /// The message.
        message: String,
    },
    /// An attempt failed and is tried again.
    StageRetried {
        /// The stage.
        stage: String,
        /// Why it failed.
        cause: String,
    },
    /// A stage is done, cached, failed, interrupted or skipped.
    StageEnded {
        /// What became of it.
        result: Box<StageResult>,
    },
    /// What happens cannot be recorded, or can be again.
    Recording(Recording),
    /// The run was asked to stop.
    Stopping,
}

/// Whether what happens in a run can be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Everything that happened is recorded, but for what had become too much to keep or was refused.
    Works {
        /// How many measurements and other entries.
        lost: u64,
    },
    /// The registry does not take something, whatever is waited: it is left out, and nothing waits for it. Reported
    /// for the first such entry.
    Refuses {
        /// Why.
        cause: String,
    },
    /// It is kept and tried again.
    Fails {
        /// Why.
        cause: String,
    },
}

/// Watches a run: a terminal, a plain log, a test.
pub trait Observer {
    /// Takes notice of an update. Must not block: the supervisor waits for it.
    fn update(&mut self, update: Update);
}

/// Whoever has runs carried out. Both outlive a run, so that nothing is missed between it and the next one.
pub struct Caller<'a> {
    /// Watches the run.
    pub observer: &'a mut dyn Observer,
    /// Ask the run to stop.
    pub signals: &'a mut Signals,
}
