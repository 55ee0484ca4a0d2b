//! How the ranks of a job know that rank 0 is there while they wait for it, which may take any time: it waits for a lock, or
//! has something to do alone.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use patchwork_core::{FileError, durable};

use crate::failure::Passing;
use crate::protocol::Place;
use crate::worker::{Context, StageError};

/// How often rank 0 shows that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How often the others look.
const PAUSE: Duration = Duration::from_millis(50);

/// Rank 0's side: shows that it is there until the ranks meet, or until this is dropped.
pub(crate) struct Presence {
    _shown: Sender<()>,
}

impl Presence {
    pub(crate) fn show(place: &Place) -> Self {
        let (shown, over) = channel();
        let (sign, meeting) = (sign(place), place.rendezvous.clone());
        std::thread::spawn(move || {
            let mut beats = 0_u64;
            while !meeting.exists() {
                // One that cannot be written is missed by those who wait.
                let _ = std::fs::write(&sign, beats.to_string());
                beats += 1;
                if over.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            let _ = std::fs::remove_file(sign);
        });
        Self { _shown: shown }
    }
}

/// Rank 0's side, where the ranks need no other meeting: they may begin.
pub fn announce(place: &Place) -> Result<(), FileError> {
    durable::write_json(&place.rendezvous, &place.membership)
}

/// Rank 0 is not there.
#[derive(Debug, thiserror::Error)]
#[error("rank 0 has shown no sign of life for {:.0} s", .0.as_secs_f64())]
struct Absent(Duration);

/// The others' side: waits until rank 0 has written where it is met.
///
/// # Errors
/// When rank 0 has shown no sign of life for `timeout`, which may pass; when this process is asked to stop.
pub fn wait_for_rank_0(
    place: &Place,
    timeout: Duration,
    context: &Context,
) -> Result<(), StageError> {
    wait(place, timeout, &|| context.is_interrupted())
}

fn wait(
    place: &Place,
    timeout: Duration,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(), StageError> {
    let sign = sign(place);
    let mut last = (None, Instant::now());
    while !place.rendezvous.exists() {
        if is_interrupted() {
            return Err(StageError::Interrupted);
        }
        let seen = read(&sign);
        if seen != last.0 {
            last = (seen, Instant::now());
        } else if last.1.elapsed() > timeout {
            return Err(Passing(Absent(timeout).into()).into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The file in which rank 0 counts.
fn sign(place: &Place) -> PathBuf {
    place.rendezvous.with_extension("waiting")
}

fn read(sign: &Path) -> Option<Vec<u8>> {
    // Empty between the moment in which it is emptied and that in which it is written.
    std::fs::read(sign).ok().filter(|beats| !beats.is_empty())
}

#[cfg(test)]
mod tests {
    use patchwork_core::Membership;

    use super::*;

    #[test]
    fn rank_0_is_waited_for_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            membership: Membership {
                rank: 1,
                ranks: 2,
                local_rank: 1,
            },
            across_machines: false,
            rendezvous: folder.path().join("rendezvous.json"),
        };
        let begin = Instant::now();
        let presence = Presence::show(&place);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(3 * BEAT);
                std::fs::write(&place.rendezvous, "").unwrap();
            });
            wait(&place, 2 * BEAT, &|| false).unwrap();
        });
        assert!(begin.elapsed() >= 3 * BEAT);
        drop(presence);
        std::fs::remove_file(&place.rendezvous).unwrap();

        let error = match wait(&place, BEAT, &|| false) {
            Err(StageError::Failed(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            error.to_string(),
            "rank 0 has shown no sign of life for 1 s"
        );
        assert!(crate::failure::may_pass(error.as_ref()));
        assert!(matches!(
            wait(&place, BEAT, &|| true),
            Err(StageError::Interrupted)
        ));
    }
}
