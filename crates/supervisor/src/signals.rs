//! The signals that ask a run to stop.

use std::time::Duration;

use patchwork_artifacts::signals::is_hangup_ignored;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::PipelineError;
use crate::launcher::Stop;

/// How long signals are one wish: a group of processes is sent one, and `just` passes it on to the run once more.
const ONE_WISH: Duration = Duration::from_secs(2);

/// SIGINT and SIGTERM, as they come; SIGHUP, of a terminal or a connection that is gone, is as SIGTERM.
///
/// The first of its kind takes the signals' usual effect from them for as long as the process lives: from then on a
/// program that carries out several runs listens through all of them, and asks between two.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Result<Self, PipelineError> {
        let listen = |kind| signal(kind).map_err(PipelineError::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    /// The number of a signal that has come and was not handed on yet.
    pub async fn heard(&mut self) -> Option<i32> {
        tokio::select! {
            biased;
            number = self.next() => Some(number),
            () = std::future::ready(()) => None,
        }
    }

    /// The next signal's number.
    pub(crate) async fn next(&mut self) -> i32 {
        let Self {
            interrupt,
            terminate,
            hangup,
        } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => {
                    hangup.recv().await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            () = hung_up => SignalKind::terminate().as_raw_value(),
        }
    }
}

/// What a signal asks for, so long after the first one; nothing, if that asked for the same.
pub(crate) fn wish(after_first: Option<Duration>) -> Option<Stop> {
    match after_first {
        None => Some(Stop::AtNextPoint),
        Some(time) if time < ONE_WISH => None,
        Some(_) => Some(Stop::AtOnce),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use signal_hook::consts::SIGTERM;
    use signal_hook::low_level::raise;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_while_nobody_waits_is_heard_once() {
        let mut signals = Signals::listen().unwrap();
        assert_eq!(signals.heard().await, None);
        raise(SIGTERM).unwrap();
        let begin = Instant::now();
        let heard = loop {
            // The runtime passes signals on while it has nothing else to do.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let heard = signals.heard().await;
            if heard.is_some() || begin.elapsed() > Duration::from_secs(10) {
                break heard;
            }
        };
        assert_eq!(heard, Some(SIGTERM));
        assert_eq!(signals.heard().await, None);
    }

    #[test]
    fn a_second_signal_counts_when_it_is_a_second_wish() {
        assert_eq!(wish(None), Some(Stop::AtNextPoint));
        assert_eq!(wish(Some(Duration::from_millis(5))), None);
        assert_eq!(wish(Some(Duration::from_millis(1999))), None);
        assert_eq!(wish(Some(Duration::from_secs(2))), Some(Stop::AtOnce));
    }
}
