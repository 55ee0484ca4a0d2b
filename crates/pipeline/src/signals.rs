//! The signals that ask a run to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::PipelineError;

/// SIGINT and SIGTERM, as they come.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, PipelineError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(PipelineError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(PipelineError::Signals)?,
        })
    }

    /// The next signal's number.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}
