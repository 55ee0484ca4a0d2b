//! When the next checkpoint is due.

use std::time::{Duration, Instant};

use patchwork_recipes::{Execution, images_of_kimg};

use super::limits::minutes;

/// Steps for which a due checkpoint waits while the loss is about to leave its range.
const LONGEST_POSTPONEMENT: u64 = 100;

/// How long training continues before a checkpoint that could not be written is tried again.
const FAILURE_PAUSE: Duration = Duration::from_mins(1);

/// The time and the images between two checkpoints.
pub(crate) struct Cadence {
    interval: Duration,
    interval_images: Option<u64>,
    since: Instant,
    at_images: Option<u64>,
    postponed_steps: u64,
    /// When one that failed is tried again.
    not_before: Option<Instant>,
}

impl Cadence {
    /// That of the execution settings, counted from here on at `images_seen`.
    pub(crate) fn start(execution: &Execution, images_seen: u64) -> Self {
        let mut cadence = Self {
            interval: minutes(execution.checkpoint_minutes),
            interval_images: execution.checkpoint_kimg.map(images_of_kimg),
            since: Instant::now(),
            at_images: None,
            postponed_steps: 0,
            not_before: None,
        };
        cadence.restart(images_seen);
        cadence
    }

    /// Counts again from `images_seen`.
    pub(crate) fn restart(&mut self, images_seen: u64) {
        self.since = Instant::now();
        // At multiples, so that it is due at the same images whenever training was resumed.
        let next = |interval| (images_seen / interval + 1) * interval;
        self.at_images = self.interval_images.map(next);
        self.postponed_steps = 0;
        self.not_before = None;
    }

    /// Whether a checkpoint is to be written now. One that is due waits for some steps while the weights are doubtful: none
    /// from which there is no way back is to be kept.
    pub(crate) fn is_due(&mut self, images_seen: u64, is_doubtful: bool) -> bool {
        let is_at_hand = self.since.elapsed() >= self.interval
            || self.at_images.is_some_and(|images| images_seen >= images);
        let is_paused = self
            .not_before
            .is_some_and(|moment| Instant::now() < moment);
        if !is_at_hand || is_paused {
            return false;
        }
        self.postponed_steps += 1;
        !is_doubtful || self.postponed_steps > LONGEST_POSTPONEMENT
    }

    /// Lets some time pass after a failure.
    pub(crate) fn pause(&mut self) {
        self.not_before = Some(Instant::now() + FAILURE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_at_multiples_and_waits_a_while_for_sound_weights() {
        let execution = Execution {
            checkpoint_minutes: 1e9,
            checkpoint_kimg: Some(2.0),
            ..Execution::default()
        };
        // However training was resumed, at the same images.
        let mut cadence = Cadence::start(&execution, 3100);
        let due = |cadence: &mut Cadence, images| cadence.is_due(images, false);
        assert!(!due(&mut cadence, 3999) && due(&mut cadence, 4000) && due(&mut cadence, 5000));
        cadence.restart(4030);
        assert!(!due(&mut cadence, 5999) && due(&mut cadence, 6010));
        cadence.pause();
        assert!(!due(&mut cadence, 6020));
        cadence.restart(6020);
        let doubtful = (0..1000).position(|_| cadence.is_due(8000, true));
        assert_eq!(doubtful, Some(LONGEST_POSTPONEMENT as usize));
    }
}
