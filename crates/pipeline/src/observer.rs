//! What a run tells whoever watches it.

use crate::protocol::Progress;
use crate::result::StageResult;

/// One thing that happened.
#[derive(Debug)]
pub enum Update<'a> {
    /// The run has its name.
    RunStarted {
        /// The run's name, such as `celeba-3`.
        run: &'a str,
    },
    /// A worker was started on a stage.
    StageStarted {
        /// The stage.
        stage: &'a str,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// Another process works on the same artifact.
    StageWaiting {
        /// The stage.
        stage: &'a str,
    },
    /// A stage is so far.
    StageProgress {
        /// The stage.
        stage: &'a str,
        /// How far.
        progress: &'a Progress,
    },
    /// A stage has a warning.
    StageWarning {
        /// The stage.
        stage: &'a str,
        /// The message.
        message: &'a str,
    },
    /// An attempt failed and is tried again.
    StageRetried {
        /// The stage.
        stage: &'a str,
        /// Why it failed.
        cause: &'a str,
    },
    /// A stage is done, cached, failed, interrupted or skipped.
    StageEnded {
        /// What became of it.
        result: &'a StageResult,
    },
    /// The run was asked to stop.
    Stopping,
}

/// Watches a run: a terminal, a plain log, a test.
pub trait Observer {
    /// Takes notice of an update. Must not block for long.
    fn update(&mut self, update: &Update<'_>);
}
