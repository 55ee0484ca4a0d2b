//! Where a stage of the running run stands.

use std::time::{Duration, Instant};

use patchwork_artifacts::event::Progress;

use crate::result::StageResult;

pub(crate) enum Progression {
    Pending,
    Running(Attempt),
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
    /// How many before it failed in succession.
    failures: u32,
    /// How far those before it came, in what the stage counts.
    furthest: u64,
    /// How far this one came by its own work.
    reached: u64,
}

impl Attempt {
    /// An attempt that lasted so long and came further than all before it was sound, and its failure is the first one
    /// again: a week has room for more accidents than an hour. One that came no further has met what does not pass.
    const SOUND: Duration = Duration::from_hours(1);

    pub(crate) fn first() -> Self {
        let now = Instant::now();
        Self {
            number: 1,
            since: now,
            began: now,
            failures: 0,
            furthest: 0,
            reached: 0,
        }
    }

    /// The same, begun now.
    pub(crate) fn beginning(self) -> Self {
        Self {
            began: Instant::now(),
            ..self
        }
    }

    /// Takes notice of how far it is.
    pub(crate) fn note(&mut self, progress: &Progress) {
        // What was done before it is not its work.
        if progress.done > progress.resumed {
            self.reached = u64::max(self.reached, progress.done);
        }
    }

    /// The next one after its failure, if `retries` in succession allow it.
    pub(crate) fn next(self, retries: u32) -> Option<Self> {
        let is_sound = self.began.elapsed() >= Self::SOUND && self.reached > self.furthest;
        let earlier = if is_sound { 0 } else { self.failures };
        (earlier < retries).then_some(Self {
            number: self.number + 1,
            failures: earlier + 1,
            began: Instant::now(),
            since: self.since,
            furthest: u64::max(self.furthest, self.reached),
            reached: 0,
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

    fn progress(resumed: u64, done: u64) -> Progress {
        Progress {
            done,
            total: 1000,
            resumed,
            unit: "images".to_owned(),
            note: String::new(),
        }
    }

    #[test]
    fn failures_in_succession_count_and_sound_attempts_reset_the_count() {
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
        let mut sound = Attempt {
            began: an_hour_ago,
            ..third
        };
        assert_eq!(sound.next(2), None, "it did nothing in its hour");
        sound.note(&progress(300, 300));
        assert_eq!(sound.next(2), None, "what it found is not its work");
        sound.note(&progress(300, 400));
        let fourth = sound.next(2).unwrap();
        assert_eq!((fourth.number, fourth.pause()), (4, Duration::from_secs(2)));
        // An hour that leads to where the one before it led.
        let mut again = Attempt {
            began: an_hour_ago,
            ..fourth
        };
        again.note(&progress(300, 400));
        let fifth = again.next(2).unwrap();
        assert_eq!((fifth.number, fifth.pause()), (5, Duration::from_secs(4)));
        assert_eq!(fifth.next(2), None);
    }
}
