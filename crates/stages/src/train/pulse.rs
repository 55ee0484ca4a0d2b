//! Whether training goes on: a watch beside it tells when no step comes.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// So many times the usual length of a step without one is a stall.
const UNUSUAL: f64 = 20.0;

/// What training does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Something whose length says nothing, such as drawing images.
    Resting,
    ReadingData,
    Computing,
    WritingCheckpoint,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::ReadingData => "reading images from the data set",
            Self::Computing => "computing a step",
            Self::WritingCheckpoint => "writing a checkpoint",
        }
    }
}

/// What training says of itself, for the watch.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beat>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    doing: Doing,
    since: Instant,
    /// Running mean of a step's length, once there was one.
    usual_seconds: Option<f64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Beat {
            doing: Doing::Resting,
            since: Instant::now(),
            usual_seconds: None,
        }))
    }

    pub(super) fn rest(&self) {
        self.set(Doing::Resting);
    }

    pub(super) fn set(&self, doing: Doing) {
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.doing = doing;
        beat.since = Instant::now();
    }

    /// A step took so long.
    pub(super) fn stepped(&self, seconds: f64) {
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = beat.usual_seconds.unwrap_or(seconds);
        beat.usual_seconds = Some(usual + 0.05 * (seconds - usual));
    }

    fn beat(&self) -> Beat {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the watch speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How often it looks.
    pub(super) look: Duration,
    /// No stall is shorter.
    pub(super) shortest: Duration,
    /// After so long a stall, it gives up.
    pub(super) longest: Option<Duration>,
}

/// Watches until `over` is dropped. `tell` is called once a stall, `give_up` when it takes too long.
pub(super) fn watch(
    pulse: &Pulse,
    limits: Limits,
    over: &Receiver<()>,
    tell: impl Fn(String),
    give_up: impl Fn(String),
) {
    let mut told = None;
    while over.recv_timeout(limits.look) == Err(RecvTimeoutError::Timeout) {
        let Beat {
            doing,
            since,
            usual_seconds,
        } = pulse.beat();
        let waited = since.elapsed();
        if doing == Doing::Resting {
            continue;
        }
        let words = || {
            let usual = usual_seconds.map_or_else(String::new, |usual| {
                format!(", where a step takes {usual:.1} s")
            });
            let seconds = waited.as_secs_f64();
            format!(
                "training has been {} for {seconds:.0} s{usual}",
                doing.words()
            )
        };
        let is_unusual = usual_seconds.is_some_and(|usual| waited.as_secs_f64() > UNUSUAL * usual);
        if is_unusual && waited > limits.shortest && told != Some(since) {
            told = Some(since);
            tell(words());
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
    use std::sync::mpsc::channel;

    #[test]
    fn a_stall_is_told_once_and_given_up_on() {
        let pulse = Pulse::new();
        let (training, over) = channel::<()>();
        let said = Mutex::new(Vec::new());
        let say = |kind: &str, text: String| said.lock().unwrap().push(format!("{kind}: {text}"));
        let limits = Limits {
            look: Duration::from_millis(2),
            shortest: Duration::from_millis(20),
            longest: Some(Duration::from_millis(200)),
        };
        std::thread::scope(|scope| {
            let (pulse, say) = (&pulse, &say);
            scope.spawn(move || {
                let give_up = |text| say("given up", text);
                watch(pulse, limits, &over, |text| say("told", text), give_up);
            });
            pulse.stepped(0.000_5);
            // However long, nothing that may take any time is a stall.
            std::thread::sleep(Duration::from_millis(50));
            assert!(said.lock().unwrap().is_empty());
            pulse.set(Doing::ReadingData);
            let begin = Instant::now();
            while said.lock().unwrap().len() < 2 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(training);
        });
        let said = said.into_inner().unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("told") && said[0].contains("reading images"));
        assert!(said[1].starts_with("given up"));
    }
}
