//! Where a stage of the running run stands.

use std::time::{Duration, Instant};

use crate::result::StageResult;

pub(crate) enum Progression {
    Pending,
    Running {
        since: Instant,
        /// The attempt's number in the record.
        recorded: usize,
    },
    /// An attempt failed for a cause that may pass; the next one starts at `at`.
    Retrying {
        since: Instant,
        at: Instant,
        attempt: u32,
        error: Vec<String>,
    },
    Ended(Box<StageResult>),
}

/// The pause before an attempt is repeated: 2 s, 4 s, and so on, a minute at most.
pub(crate) fn pause_before_retry(failed_attempt: u32) -> Duration {
    Duration::from_secs(1 << failed_attempt.min(6)).min(Duration::from_mins(1))
}
