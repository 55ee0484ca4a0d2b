//! A watchdog beside training, which reports a stall: no step for much longer than usual.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use patchwork_artifacts::worker::Context;

/// So many times the usual length of a step without one is a stall.
const UNUSUAL: f64 = 20.0;

/// The present activity of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Something whose length says nothing, such as drawing images.
    Resting,
    ReadingData,
    Computing,
    WritingCheckpoint,
}

impl Activity {
    fn words(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::ReadingData => "reading images from the data set",
            Self::Computing => "computing a step",
            Self::WritingCheckpoint => "writing a checkpoint",
        }
    }
}

/// The heartbeat of training, for the watchdog.
#[derive(Debug)]
pub(super) struct Heartbeat(Mutex<Beat>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    activity: Activity,
    since: Instant,
    /// Running mean of a step's length, once there was one.
    usual_seconds: Option<f64>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Beat {
            activity: Activity::Resting,
            since: Instant::now(),
            usual_seconds: None,
        }))
    }

    pub(super) fn rest(&self) {
        self.set(Activity::Resting);
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

    fn beat(&self) -> Beat {
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
}

/// Does `work` with a watchdog beside it: a stall is a warning, and one of more than `stall_limit` ends the process as a
/// failure that may pass.
pub(super) fn watched<T>(
    context: &Context,
    heartbeat: &Heartbeat,
    stall_limit: Option<Duration>,
    work: impl FnOnce() -> T,
) -> T {
    let limits = StallLimits {
        look: Duration::from_secs(1),
        shortest: Duration::from_mins(1),
        longest: stall_limit,
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
        } = heartbeat.beat();
        let waited = since.elapsed();
        if activity == Activity::Resting {
            continue;
        }
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
        let is_unusual = usual_seconds.is_some_and(|usual| waited.as_secs_f64() > UNUSUAL * usual);
        if is_unusual && waited > limits.shortest && warned != Some(since) {
            warned = Some(since);
            warn(words());
        }
        if limits.longest.is_some_and(|longest| waited > longest) {
            give_up(words());
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_reported_once_and_given_up_on() {
        let heartbeat = Heartbeat::new();
        let (training, over) = channel::<()>();
        let said = Mutex::new(Vec::new());
        let say = |kind: &str, text: String| said.lock().unwrap().push(format!("{kind}: {text}"));
        let limits = StallLimits {
            look: Duration::from_millis(2),
            shortest: Duration::from_millis(20),
            longest: Some(Duration::from_millis(200)),
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
            heartbeat.stepped(Duration::from_micros(500));
            // However long, nothing that may take any time is a stall.
            std::thread::sleep(Duration::from_millis(50));
            assert!(said.lock().unwrap().is_empty());
            heartbeat.set(Activity::ReadingData);
            let begin = Instant::now();
            while said.lock().unwrap().len() < 2 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(training);
        });
        let said = said.into_inner().unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("warning") && said[0].contains("reading images"));
        assert!(said[1].starts_with("given up"));
    }
}
