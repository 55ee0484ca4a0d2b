//! Where a stage of the running run stands.

use std::time::{Duration, Instant};

use crate::result::StageResult;

pub(crate) enum Progression {
    Pending,
    Running {
        attempt: Attempt,
        /// The attempt's number in the record.
        recorded: usize,
    },
    /// An attempt failed for a cause that may pass; the next one starts at `at`.
    Retrying {
        attempt: Attempt,
        at: Instant,
        error: Vec<String>,
    },
    Ended(Box<StageResult>),
}

/// One of the attempts at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// 1 for the first one.
    pub(crate) number: u32,
    /// When the first one began.
    pub(crate) since: Instant,
    /// When this one began.
    began: Instant,
    /// How many before it failed one soon after the other.
    failures: u32,
}

impl Attempt {
    /// An attempt that lasted so long was sound, and its failure is the first one again: a week has room for more
    /// accidents than an hour.
    const SOUND: Duration = Duration::from_hours(1);

    pub(crate) fn first() -> Self {
        let now = Instant::now();
        Self {
            number: 1,
            since: now,
            began: now,
            failures: 0,
        }
    }

    /// The same, begun now.
    pub(crate) fn beginning(self) -> Self {
        Self {
            began: Instant::now(),
            ..self
        }
    }

    /// The next one after its failure, if `retries` in succession allow it.
    pub(crate) fn next(self, retries: u32) -> Option<Self> {
        let earlier = if self.began.elapsed() >= Self::SOUND {
            0
        } else {
            self.failures
        };
        (earlier < retries).then_some(Self {
            number: self.number + 1,
            failures: earlier + 1,
            began: Instant::now(),
            since: self.since,
        })
    }

    /// The pause before it: 2 s after one failure, 4 s after two, and so on, a minute at most.
    pub(crate) fn pause(self) -> Duration {
        Duration::from_secs(1 << self.failures.min(6)).min(Duration::from_mins(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_succession_count_and_sound_attempts_begin_anew() {
        let first = Attempt::first();
        assert_eq!(first.next(0), None);
        let second = first.next(2).unwrap();
        let third = second.next(2).unwrap();
        assert_eq!((third.number, third.pause()), (3, Duration::from_secs(4)));
        assert_eq!(third.next(2), None);
        let Some(an_hour_ago) = Instant::now().checked_sub(Attempt::SOUND) else {
            // A machine that has just been started.
            return;
        };
        let sound = Attempt {
            began: an_hour_ago,
            ..third
        };
        let fourth = sound.next(2).unwrap();
        assert_eq!((fourth.number, fourth.pause()), (4, Duration::from_secs(2)));
    }
}
