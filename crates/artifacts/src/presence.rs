//! How the ranks of a job know of each other that they are there, while one waits for another for any time: the others for
//! rank 0, which waits for a lock or has something to do alone; rank 0 for what the others write.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use patchwork_core::{FileError, durable};

use crate::failure::Passing;
use crate::protocol::Place;
use crate::worker::{Context, StageError};

/// How often a rank shows that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// How often the others look.
const PAUSE: Duration = Duration::from_millis(50);

/// What a rank beside rank 0 leaves in its sign when it has ended.
const ENDED: &[u8] = b"ended";

/// Shows that a rank is there: rank 0 until the ranks meet, the others from when they write their share until this is
/// dropped.
pub(crate) struct Presence {
    shown: Option<Sender<()>>,
    beating: Option<JoinHandle<()>>,
}

impl Presence {
    pub(crate) fn show(place: &Place) -> Self {
        let (shown, over) = channel();
        let rank = place.membership.rank;
        let (sign, meeting) = (sign(place, rank), place.rendezvous.clone());
        let beating = std::thread::spawn(move || {
            let mut beats = 0_u64;
            let mut is_shown = false;
            while rank != 0 || !meeting.exists() {
                // One that cannot be written is missed by those who wait.
                is_shown |= write(&sign, beats.to_string().as_bytes(), !is_shown).is_ok();
                beats += 1;
                if over.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            let _ = match rank {
                0 => std::fs::remove_file(sign),
                _ => write(&sign, ENDED, !is_shown),
            };
        });
        Self {
            shown: Some(shown),
            beating: Some(beating),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        drop(self.shown.take());
        // The last sign has to be there before the process ends.
        let _ = self.beating.take().map(JoinHandle::join);
    }
}

/// Removes what the ranks of an attempt have shown, once all have ended.
pub fn clear_up(rendezvous: &Path, ranks: u32) {
    // What is left is read by no later attempt.
    for rank in 0..ranks {
        let _ = std::fs::remove_file(sign_of(rendezvous, rank));
    }
}

/// Rank 0's side, where the ranks need no other meeting: they may begin.
pub fn announce(place: &Place) -> Result<(), FileError> {
    durable::write_json(&place.rendezvous, &place.membership)
}

/// A rank is not there.
#[derive(Debug, thiserror::Error)]
#[error("rank {rank} has shown no sign of life for {:.0} s", timeout.as_secs_f64())]
struct Absent {
    rank: u32,
    timeout: Duration,
}

/// A rank as another one sees it.
struct Seen {
    rank: u32,
    sign: PathBuf,
    beats: Option<Vec<u8>>,
    since: Instant,
}

impl Seen {
    fn new(place: &Place, rank: u32) -> Self {
        Self {
            rank,
            sign: sign(place, rank),
            beats: None,
            since: Instant::now(),
        }
    }

    /// Looks at its sign, which has to change within `timeout`, unless it has ended.
    fn look(&mut self, timeout: Duration) -> Result<(), StageError> {
        let beats = read(&self.sign);
        if beats != self.beats {
            (self.beats, self.since) = (beats, Instant::now());
        } else if self.since.elapsed() > timeout && beats.as_deref() != Some(ENDED) {
            let rank = self.rank;
            return Err(Passing(Absent { rank, timeout }.into()).into());
        }
        Ok(())
    }
}

/// Rank 0's side while it waits for what the others write.
pub struct Others {
    all: Vec<Seen>,
    timeout: Duration,
}

impl Others {
    /// All others, each of which has to show a sign of life within `timeout`, or some seconds if that is more.
    pub fn of(place: &Place, timeout: Duration) -> Self {
        let ranks = 1..place.membership.ranks;
        Self {
            all: ranks.map(|rank| Seen::new(place, rank)).collect(),
            timeout: Duration::max(timeout, 5 * BEAT),
        }
    }

    /// Looks at the signs of all; says whether all have ended, so that nothing more comes of them.
    ///
    /// # Errors
    /// When one has shown none for the time that it is given, which may pass.
    pub fn have_ended(&mut self) -> Result<bool, StageError> {
        let timeout = self.timeout;
        (self.all.iter_mut()).try_for_each(|seen| seen.look(timeout))?;
        let has_ended = |seen: &Seen| seen.beats.as_deref() == Some(ENDED);
        Ok(self.all.iter().all(has_ended))
    }
}

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
    let mut first = Seen::new(place, 0);
    while !place.rendezvous.exists() {
        if is_interrupted() {
            return Err(StageError::Interrupted);
        }
        first.look(timeout)?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The file in which a rank counts.
fn sign(place: &Place, rank: u32) -> PathBuf {
    sign_of(&place.rendezvous, rank)
}

fn sign_of(rendezvous: &Path, rank: u32) -> PathBuf {
    rendezvous.with_extension(format!("rank-{rank}"))
}

/// Writes a sign. One that was there and is gone was removed with its attempt: it is not made again.
fn write(sign: &Path, text: &[u8], create: bool) -> std::io::Result<()> {
    let mut options = File::options();
    let mut file = (options.write(true).truncate(true).create(create)).open(sign)?;
    file.write_all(text)
}

fn read(sign: &Path) -> Option<Vec<u8>> {
    // Empty between the moment in which it is emptied and that in which it is written.
    std::fs::read(sign).ok().filter(|beats| !beats.is_empty())
}

#[cfg(test)]
mod tests {
    use patchwork_core::Membership;

    use super::*;

    fn places(folder: &Path) -> [Place; 2] {
        [0, 1].map(|rank| Place {
            membership: Membership {
                rank,
                ranks: 2,
                local_rank: rank,
                local_ranks: 2,
            },
            across_machines: false,
            rendezvous: folder.join("rendezvous.json"),
        })
    }

    #[test]
    fn the_others_are_waited_for_as_long_as_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let [first, other] = places(folder.path());
        let mut others = Others::of(&first, Duration::ZERO);
        let looks_until = |others: &mut Others, time: Duration| {
            let begin = Instant::now();
            while begin.elapsed() < time {
                others.have_ended()?;
                std::thread::sleep(PAUSE);
            }
            others.have_ended()
        };
        let presence = Presence::show(&other);
        assert!(!looks_until(&mut others, 7 * BEAT).unwrap());
        // One that has ended is not missed.
        drop(presence);
        assert!(looks_until(&mut others, 7 * BEAT).unwrap());
        // One that stopped in the middle is.
        std::fs::write(sign(&first, 1), "3").unwrap();
        let Err(StageError::Failed(error)) = looks_until(&mut others, 7 * BEAT) else {
            panic!("it is not missed");
        };
        assert_eq!(
            error.to_string(),
            "rank 1 has shown no sign of life for 5 s"
        );
        clear_up(&first.rendezvous, 2);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        // Cleared up while it shows itself, it leaves nothing.
        let presence = Presence::show(&other);
        while !sign(&first, 1).exists() {
            std::thread::sleep(PAUSE);
        }
        clear_up(&first.rendezvous, 2);
        std::thread::sleep(2 * BEAT);
        drop(presence);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn rank_0_is_waited_for_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [first, place] = places(folder.path());
        let begin = Instant::now();
        let presence = Presence::show(&first);
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
