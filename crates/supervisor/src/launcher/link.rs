//! The folder by which a supervisor and the ranks that a launcher started, on whichever machines, are connected.
//!
//! The supervisor writes the job, counts as long as it is alive, and writes the request to stop. Each rank writes that it has
//! started, then its events, then how it ended. Readers poll: a file is opened for each read, so that network file systems
//! answer with what another machine wrote and closed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::Job;
use patchwork_core::{FileError, durable, file_error};
use serde::{Deserialize, Serialize};

use super::Stop;
use super::ends::ProcessEnd;

/// What every rank is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// What is to be done, without a place.
    pub(super) job: Job,
    /// The program that does it.
    pub(super) program: PathBuf,
    /// The supervisor's machine and process.
    pub(super) host: String,
    pub(super) pid: u32,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Link(PathBuf);

/// What a rank says, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Read {
    bytes: u64,
}

const EVENTS: &str = ".jsonl";

impl Link {
    /// A new folder, with the order in it.
    pub(super) fn create(folder: PathBuf, order: &Order) -> Result<Self, FileError> {
        durable::create_dir_all(&folder)?;
        let link = Self(folder);
        durable::write_json(&link.order(), order)?;
        Ok(link)
    }

    /// The folder of a supervisor, with its order.
    pub(super) fn open(folder: &Path) -> Result<(Self, Order), FileError> {
        let link = Self(folder.to_owned());
        let order = file_error::read_json(&link.order())?;
        Ok((link, order))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    fn order(&self) -> PathBuf {
        self.0.join("order.json")
    }

    /// Where the ranks meet.
    pub(super) fn rendezvous(&self) -> PathBuf {
        self.0.join("rendezvous.json")
    }

    /// Shows that the supervisor lives.
    pub(super) fn beat(&self, count: u64) {
        // Of one width and never emptied, so that a full disk does not end it. One that cannot be written is missed by those
        // who wait.
        let mut options = fs::File::options();
        let file = options.create(true).truncate(false).write(true);
        let file = file.open(self.0.join("beat"));
        let _ = file.and_then(|file| file.write_all_at(format!("{count:020}").as_bytes(), 0));
    }

    /// What the supervisor has counted to.
    pub(super) fn beaten(&self) -> Option<String> {
        // Empty between the moment in which it is made and that in which it is written.
        let beats = fs::read_to_string(self.0.join("beat")).ok();
        beats.filter(|beats| !beats.is_empty())
    }

    /// Asks the ranks to stop.
    pub(super) fn stop(&self, wish: Stop) -> Result<(), FileError> {
        match wish {
            Stop::Continue => Ok(()),
            wish => durable::write_json(&self.0.join("stop.json"), &wish),
        }
    }

    /// How the ranks are asked to stop.
    pub(super) fn wished(&self) -> Stop {
        let bytes = fs::read(self.0.join("stop.json")).ok();
        let wish = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        wish.unwrap_or(Stop::Continue)
    }

    /// Whether the supervisor has removed the folder: it follows these ranks no more.
    pub(super) fn is_gone(&self) -> bool {
        let order = fs::metadata(self.order());
        order.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// Says that a rank is there; false where another process has said so.
    pub(super) fn appear(&self, rank: u32) -> Result<bool, FileError> {
        let path = self.events(rank);
        let mut options = fs::File::options();
        match options.create_new(true).write(true).open(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(FileError::new("create", &path, source)),
        }
    }

    /// Appends events of a rank.
    pub(super) fn append(&self, rank: u32, events: &[Event]) -> Result<(), FileError> {
        let path = self.events(rank);
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event).expect("an event is plain data");
            lines.push(b'\n');
        }
        durable::append_lines(&path, &lines)
    }

    /// Says how a rank ended: nothing more is said of it.
    pub(super) fn end(&self, end: &ProcessEnd) -> Result<(), FileError> {
        durable::write_json(&self.end_of(end.rank), end)
    }

    /// The ranks that are there, or were.
    pub(super) fn ranks(&self) -> BTreeSet<u32> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let rank = name.to_str()?.strip_prefix("rank-")?;
                rank.strip_suffix(EVENTS)?.parse().ok()
            })
            .collect()
    }

    /// The events of a rank since `read`, in whole lines.
    pub(super) fn new_events(
        &self,
        rank: u32,
        read: &mut Read,
    ) -> Vec<Result<Event, serde_json::Error>> {
        let mut new = Vec::new();
        let _ = fs::File::open(self.events(rank)).and_then(|mut file| {
            file.seek(SeekFrom::Start(read.bytes))?;
            file.read_to_end(&mut new)
        });
        let whole = new.iter().rposition(|&byte| byte == b'\n');
        let new = whole.map_or(&[][..], |last| &new[..=last]);
        read.bytes += new.len() as u64;
        let lines = new.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines.map(serde_json::from_slice).collect()
    }

    /// How a rank ended, if it has.
    pub(super) fn ended(&self, rank: u32) -> Option<ProcessEnd> {
        let bytes = fs::read(self.end_of(rank)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn events(&self, rank: u32) -> PathBuf {
        self.0.join(format!("rank-{rank}{EVENTS}"))
    }

    fn end_of(&self, rank: u32) -> PathBuf {
        self.0.join(format!("rank-{rank}.end.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::launcher::AttemptEnd;

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let folder = tempfile::tempdir().unwrap();
        let link = Link(folder.path().to_owned());
        assert!(link.ranks().is_empty());
        assert_eq!((link.wished(), link.beaten()), (Stop::Continue, None));
        link.beat(7);
        link.stop(Stop::AtNextPoint).unwrap();
        assert_eq!(link.beaten().as_deref(), Some("00000000000000000007"));
        assert_eq!(link.wished(), Stop::AtNextPoint);

        for rank in [11, 2] {
            assert!(link.appear(rank).unwrap());
            assert!(!link.appear(rank).unwrap());
        }
        assert_eq!(link.ranks(), BTreeSet::from([2, 11]));
        let mut read = Read::default();
        assert!(link.new_events(2, &mut read).is_empty());
        link.append(2, &[Event::Waiting, Event::Resumed { step: 3 }])
            .unwrap();
        let mut file = durable::open_to_append(&link.events(2)).unwrap();
        // A line that is on its way.
        file.write_all(b"{\"event\":\"wai").unwrap();
        let events: Vec<Event> = link
            .new_events(2, &mut read)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(events, [Event::Waiting, Event::Resumed { step: 3 }]);
        file.write_all(b"ting\"}\n").unwrap();
        assert_eq!(link.new_events(2, &mut read).len(), 1);
        assert!(link.new_events(2, &mut read).is_empty());

        assert!(link.ended(2).is_none());
        link.end(&ProcessEnd {
            rank: 2,
            end: AttemptEnd::Interrupted { cause: None },
            was_killed: false,
        })
        .unwrap();
        assert_eq!(link.ended(2).unwrap().rank, 2);
    }
}
