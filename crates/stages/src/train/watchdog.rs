//! A watchdog beside a train stage, which reports a stall: no step for much longer than usual, or no sign of life from what
//! takes as long as it takes.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use patchwork_artifacts::worker::Context;

/// So many times the usual length of a step without one is a stall.
const UNUSUAL: f64 = 20.0;

/// What has no usual length may be without a sign of life for so many times as long as a step may take, and never less than
/// the second: to end a sound training is worse than to wait for one that hangs.
const REST: (u32, Duration) = (10, Duration::from_hours(2));

/// The present activity of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Something whose length says nothing, such as setting up or drawing images: it gives signs of life on its way.
    Resting,
    /// What is as long as other processes let it be; their group has a limit of its own.
    WaitingForRanks,
    ReadingData,
    Computing,
    WritingCheckpoint,
}

impl Activity {
    fn words(self) -> &'static str {
        match self {
            Self::Resting => "setting up, measuring or finishing without a sign of life",
            Self::WaitingForRanks => "waiting for other ranks",
            Self::ReadingData => "reading images from the data set",
            Self::Computing => "computing a step",
            Self::WritingCheckpoint => "writing a checkpoint",
        }
    }
}

/// The heartbeat of training, for the watchdog.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat(Arc<Mutex<Beat>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    activity: Activity,
    since: Instant,
    /// Running mean of a step's length, once there was one.
    usual_seconds: Option<f64>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat {
            activity: Activity::Resting,
            since: Instant::now(),
            usual_seconds: None,
        })))
    }

    pub(super) fn rest(&self) {
        self.set(Activity::Resting);
    }

    /// A sign of life of the present activity.
    pub(super) fn beat(&self) {
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.since = Instant::now();
    }

    pub(super) fn set(&self, activity: Activity) {
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.activity = activity;
        beat.since = Instant::now();
    }

    /// A step took so long.
    pub(super) fn stepped(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = beat.usual_seconds.unwrap_or(seconds);
        beat.usual_seconds = Some(usual + 0.05 * (seconds - usual));
    }

    fn last(&self) -> Beat {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the watchdog reports.
#[derive(Clone, Copy, Debug)]
struct StallLimits {
    /// How often it looks.
    look: Duration,
    /// No stall is shorter.
    shortest: Duration,
    /// After so long a stall, it gives up.
    longest: Option<Duration>,
    /// The same of what has no usual length.
    longest_rest: Option<Duration>,
}

/// Does `work` with a watchdog beside it: a stall is a warning, and one of more than `stall_limit` ends the process as a
/// failure that may pass. `rests` says whether it gives signs of life whatever it does: ranks beside rank 0 wait for that one.
pub(super) fn watched<T>(
    context: &Context,
    heartbeat: &Heartbeat,
    stall_limit: Option<Duration>,
    rests: bool,
    work: impl FnOnce() -> T,
) -> T {
    let (factor, shortest_rest) = REST;
    let rest = stall_limit.map(|limit| Duration::max(limit.saturating_mul(factor), shortest_rest));
    let limits = StallLimits {
        look: Duration::from_secs(1),
        shortest: Duration::from_mins(1),
        longest: stall_limit,
        longest_rest: rest.filter(|_| rests),
    };
    std::thread::scope(|scope| {
        let (working, over) = channel::<()>();
        scope.spawn(move || {
            let give_up = |text| context.abandon(text);
            watch(heartbeat, limits, &over, |text| context.warn(text), give_up);
        });
        let result = work();
        drop(working);
        result
    })
}

/// Watches until `over` is dropped. `warn` is called once a stall, `give_up` when it takes too long.
fn watch(
    heartbeat: &Heartbeat,
    limits: StallLimits,
    over: &Receiver<()>,
    warn: impl Fn(String),
    give_up: impl Fn(String),
) {
    let mut warned = None;
    while over.recv_timeout(limits.look) == Err(RecvTimeoutError::Timeout) {
        let Beat {
            activity,
            since,
            usual_seconds,
        } = heartbeat.last();
        let waited = since.elapsed();
        let words = || {
            let usual = usual_seconds.map_or_else(String::new, |usual| {
                format!(", where a step takes {usual:.1} s")
            });
            let seconds = waited.as_secs_f64();
            format!(
                "training has been {} for {seconds:.0} s{usual}",
                activity.words()
            )
        };
        let (is_unusual, longest) = match activity {
            Activity::WaitingForRanks => continue,
            // Half of the limit has a warning, so that somebody may look.
            Activity::Resting => {
                let longest = limits.longest_rest;
                (longest.is_some_and(|longest| waited > longest / 2), longest)
            }
            _ => {
                let is_unusual =
                    usual_seconds.is_some_and(|usual| waited.as_secs_f64() > UNUSUAL * usual);
                (is_unusual, limits.longest)
            }
        };
        if is_unusual && waited > limits.shortest && warned != Some(since) {
            warned = Some(since);
            warn(words());
        }
        if longest.is_some_and(|longest| waited > longest) {
            give_up(words());
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a heartbeat that `live` gives life to, until it was given up on.
    fn watched(live: impl FnOnce(&Heartbeat, &Mutex<Vec<String>>)) -> Vec<String> {
        let heartbeat = Heartbeat::new();
        let (training, over) = channel::<()>();
        let said = Mutex::new(Vec::new());
        let say = |kind: &str, text: String| said.lock().unwrap().push(format!("{kind}: {text}"));
        let limits = StallLimits {
            look: Duration::from_millis(2),
            shortest: Duration::from_millis(20),
            longest: Some(Duration::from_millis(200)),
            longest_rest: Some(Duration::from_secs(2)),
        };
        std::thread::scope(|scope| {
            let (heartbeat, say) = (&heartbeat, &say);
            scope.spawn(move || {
                let give_up = |text| say("given up", text);
                watch(
                    heartbeat,
                    limits,
                    &over,
                    |text| say("warning", text),
                    give_up,
                );
            });
            live(heartbeat, &said);
            let begin = Instant::now();
            while said.lock().unwrap().len() < 2 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(training);
        });
        said.into_inner().unwrap()
    }

    #[test]
    fn a_stall_is_reported_once_and_given_up_on() {
        let said = watched(|heartbeat, said| {
            heartbeat.stepped(Duration::from_micros(500));
            // However long, nothing that may take any time is a stall while it gives signs of life, or waits for others.
            heartbeat.set(Activity::WaitingForRanks);
            std::thread::sleep(Duration::from_millis(500));
            heartbeat.rest();
            for _ in 0..50 {
                std::thread::sleep(Duration::from_millis(50));
                heartbeat.beat();
            }
            assert!(said.lock().unwrap().is_empty());
            heartbeat.set(Activity::ReadingData);
        });
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("warning") && said[0].contains("reading images"));
        assert!(said[1].starts_with("given up"));
    }

    #[test]
    fn what_gives_no_sign_of_life_for_long_is_given_up_on() {
        // Before the first step, such as a data set that does not open.
        let said = watched(|_, _| ());
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("warning") && said[0].contains("setting up"),
            "{said:?}"
        );
        assert!(said[1].starts_with("given up"), "{said:?}");
    }
}
