//! One machine at a time: processes that use an SQLite database with a write-ahead log share memory, which machines do not.
//!
//! Whoever has the database open for writing counts in a file of its own beside it. What another machine's files say is
//! believed while they change; a machine that crashed falls silent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use patchwork_core::membership::host_name;
use patchwork_core::{FileError, durable};

use crate::error::RegistryError;

/// How often a process shows that it has the database open.
const BEAT: Duration = Duration::from_secs(10);

/// A machine that shows nothing for so long does not use it any more.
const SILENCE: Duration = Duration::from_secs(35);

/// Shows that this process has a database open for writing, until it is dropped.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    _shown: Sender<()>,
}

impl Mark {
    pub(crate) fn set(database: &Path) -> Result<Self, FileError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = folder(database);
        durable::create_dir_all(&folder)?;
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(format!("{}.{process}.{count}", host_name()));
        // Not durable: after a crash it says nothing.
        fs::write(&path, "0").map_err(|source| FileError::new("write", &path, source))?;
        let (shown, over) = channel::<()>();
        let beaten = path.clone();
        std::thread::spawn(move || {
            let mut beats = 0_u64;
            while over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                beats += 1;
                // One that cannot be written is missed by other machines alone.
                let _ = fs::write(&beaten, beats.to_string());
            }
        });
        Ok(Self {
            path,
            _shown: shown,
        })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses a database that another machine has open for writing. Waits where that machine may have crashed.
pub(crate) fn refuse_another(database: &Path) -> Result<(), RegistryError> {
    match another(&folder(database), &host_name(), SILENCE) {
        Some(machine) => Err(RegistryError::OtherMachine {
            path: database.to_owned(),
            machine,
        }),
        None => Ok(()),
    }
}

/// The machine that has shown itself within [`SILENCE`] by its clock and this one's; does not wait.
pub(crate) fn seen_lately(database: &Path) -> Option<String> {
    let now = SystemTime::now();
    let marks = others(&folder(database), &host_name());
    let mut fresh = marks
        .into_iter()
        .filter(|(_, mark)| is_fresh(mark, now, SILENCE));
    fresh.next().map(|(path, _)| machine_of(&path))
}

fn folder(database: &Path) -> PathBuf {
    database.with_extension("db.machines")
}

/// What a file says, and when it was written.
type Said = (Vec<u8>, Option<SystemTime>);

/// The files of other machines.
fn others(folder: &Path, own: &str) -> BTreeMap<PathBuf, Said> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && machine_of(path) != own
        })
        .filter_map(|path| {
            let said = fs::read(&path).ok()?;
            let time = fs::metadata(&path).and_then(|file| file.modified()).ok();
            Some((path, (said, time)))
        })
        .collect()
}

/// `node7.local.4711.0` is of `node7.local`.
fn machine_of(mark: &Path) -> String {
    let name = mark.file_name().unwrap_or_default().to_string_lossy();
    let machine = name.rsplitn(3, '.').nth(2);
    machine.unwrap_or(&name).to_owned()
}

fn is_fresh((_, time): &Said, now: SystemTime, silence: Duration) -> bool {
    time.is_some_and(|time| match now.duration_since(time) {
        Ok(age) => age < silence,
        // Clocks differ.
        Err(error) => error.duration() < silence,
    })
}

/// The machine beside `own` that has the database open; removes what crashed ones have left.
fn another(folder: &Path, own: &str, silence: Duration) -> Option<String> {
    let pause = Duration::from_millis(500).min(silence / 4);
    let first = others(folder, own);
    let now = SystemTime::now();
    if let Some((path, _)) = first.iter().find(|(_, said)| is_fresh(said, now, silence)) {
        return Some(machine_of(path));
    }
    let begin = Instant::now();
    while !others(folder, own).is_empty() {
        if begin.elapsed() > silence {
            for path in first.keys() {
                let _ = fs::remove_file(path);
            }
            break;
        }
        std::thread::sleep(pause);
        let changed = others(folder, own)
            .into_iter()
            .find(|(path, said)| first.get(path) != Some(said));
        if let Some((path, _)) = changed {
            return Some(machine_of(&path));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(400);

    /// Writes a file as another machine would, with its time so long ago.
    fn write(folder: &Path, name: &str, said: &str, age: Duration) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, said).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    #[test]
    fn a_machine_at_work_is_named_and_a_silent_one_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(another(folder, "here", SHORT), None);
        write(folder, "here.12.0", "1", Duration::ZERO);
        assert_eq!(another(folder, "here", SHORT), None);

        let fresh = write(folder, "node7.local.12.0", "1", Duration::ZERO);
        let node7 = Some("node7.local".to_owned());
        assert_eq!(another(folder, "here", SHORT), node7);
        fs::remove_file(fresh).unwrap();

        // Its clock is an hour behind, and it counts on.
        let hour = Duration::from_hours(1);
        let behind = write(folder, "node7.local.12.0", "1", hour);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(SHORT / 2);
                write(folder, "node7.local.12.0", "2", hour);
            });
            assert_eq!(another(folder, "here", SHORT), node7);
        });
        assert_eq!(another(folder, "here", SHORT), None);
        assert!(!behind.exists());
        assert!(folder.join("here.12.0").exists());
    }

    #[test]
    fn a_mark_is_there_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("registry.db");
        let mark = Mark::set(&database).unwrap();
        let marks = || fs::read_dir(super::folder(&database)).unwrap().count();
        assert_eq!(marks(), 1);
        let other = Mark::set(&database).unwrap();
        assert_eq!(marks(), 2);
        drop((mark, other));
        assert_eq!(marks(), 0);
        // Those of this machine are no others.
        let _mark = Mark::set(&database).unwrap();
        assert!(refuse_another(&database).is_ok());
        assert_eq!(seen_lately(&database), None);
    }
}
