//! One machine at a time: processes that use an SQLite database with a write-ahead log share memory, which machines do not.
//!
//! Whoever has the database open for writing counts in a file of its own beside it. What another machine's files say is
//! believed while they change; a machine that crashed, or a container that was replaced, falls silent. A machine is what
//! one kernel runs: containers of one host share memory, and may have host names of their own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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
        let folder = folder(database);
        durable::create_dir_all(&folder)?;
        let own = Machine::own();
        forget_killed(&folder, &own);
        let path = new_file(&folder, &own)?;
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

/// Removes what processes of this machine have left that were killed. One that is only late writes its own again.
fn forget_killed(folder: &Path, own: &Machine) {
    let now = SystemTime::now();
    for path in marks(folder) {
        if Machine::of(&path).is(own) && !is_fresh(&path, now) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that no other process has, whatever processes of other containers are called.
fn new_file(folder: &Path, own: &Machine) -> Result<PathBuf, FileError> {
    for count in 0_u64.. {
        let path = folder.join(own.mark(std::process::id(), count));
        // Not durable: after a crash it says nothing.
        match File::create_new(&path).and_then(|mut file| file.write_all(b"0")) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FileError::new("write", &path, source)),
        }
    }
    unreachable!("so many files fit into no folder")
}

/// What one kernel runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Machine {
    name: String,
    /// The kernel's own name for the time since it was started, the same in all of its containers; none where it has none.
    boot: Option<String>,
}

impl Machine {
    fn own() -> Self {
        // random(4)
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|boot| boot.trim().to_owned());
        Self {
            name: host_name(),
            boot: boot.filter(|boot| !boot.is_empty() && !boot.contains(['.', '/'])),
        }
    }

    /// The name of a mark: `node7.local.4711.0-BOOT`.
    fn mark(&self, process: u32, count: u64) -> String {
        let boot = self.boot.as_ref().map(|boot| format!("-{boot}"));
        let (name, boot) = (&self.name, boot.unwrap_or_default());
        format!("{name}.{process}.{count}{boot}")
    }

    /// Whose mark it is.
    fn of(mark: &Path) -> Self {
        let mark = mark.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = mark.rsplitn(3, '.');
        let boot = parts.next().and_then(|last| last.split_once('-'));
        Self {
            name: parts.nth(1).unwrap_or(&mark).to_owned(),
            boot: boot.map(|(_, boot)| boot.to_owned()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.boot, &other.boot) {
            (Some(own), Some(other)) => own == other,
            _ => self.name == other.name,
        }
    }
}

/// The marks of other machines, and what each says.
type Marks = BTreeMap<PathBuf, Vec<u8>>;

/// Waits until no other machine has the database open for writing, where it seems that one has: what is left of one that
/// crashed falls silent. Gives what was left.
///
/// # Errors
/// [`RegistryError::OtherMachine`] for one that is at work.
pub(crate) async fn wait_for_silence(database: &Path) -> Result<Marks, RegistryError> {
    let tell = |machine: &Machine| {
        // Nothing is to be done where standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "waiting up to {} s: `{}` may have the registry `{}` open",
            SILENCE.as_secs(),
            machine.name,
            database.display()
        );
    };
    silence(&folder(database), &Machine::own(), SILENCE, tell)
        .await
        .map_err(|machine| RegistryError::OtherMachine {
            path: database.to_owned(),
            machine: machine.name,
        })
}

/// Whether no other machine has left anything but `known`; does not wait.
pub(crate) fn is_alone(database: &Path, known: &Marks) -> bool {
    let found = others(&folder(database), &Machine::own());
    found
        .iter()
        .all(|(path, said)| known.get(path) == Some(said))
}

/// The machine that has shown itself within [`SILENCE`] by its clock and this one's; does not wait.
pub(crate) fn seen_lately(database: &Path) -> Option<String> {
    let now = SystemTime::now();
    let marks = others(&folder(database), &Machine::own());
    let mut fresh = marks.into_keys().filter(|path| is_fresh(path, now));
    fresh.next().map(|path| Machine::of(&path).name)
}

fn folder(database: &Path) -> PathBuf {
    database.with_extension("db.machines")
}

fn marks(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.')
    })
}

fn others(folder: &Path, own: &Machine) -> Marks {
    marks(folder)
        .filter(|path| !Machine::of(path).is(own))
        .filter_map(|path| {
            let said = fs::read(&path).ok()?;
            Some((path, said))
        })
        .collect()
}

fn is_fresh(mark: &Path, now: SystemTime) -> bool {
    let time = fs::metadata(mark).and_then(|file| file.modified());
    time.is_ok_and(|time| match now.duration_since(time) {
        Ok(age) => age < SILENCE,
        // Clocks differ.
        Err(error) => error.duration() < SILENCE,
    })
}

/// Waits until the marks of machines beside `own` have not changed for so long, and removes them; the machine of one that
/// does change is the error. Clocks are not asked, since they differ.
async fn silence(
    folder: &Path,
    own: &Machine,
    silence: Duration,
    tell: impl Fn(&Machine),
) -> Result<Marks, Machine> {
    let pause = Duration::from_millis(500).min(silence / 8);
    let first = others(folder, own);
    if let Some(path) = first.keys().next() {
        tell(&Machine::of(path));
    }
    let begin = Instant::now();
    let mut left = first.clone();
    while !left.is_empty() {
        if begin.elapsed() > silence {
            for path in left.keys() {
                let _ = fs::remove_file(path);
            }
            break;
        }
        tokio::time::sleep(pause).await;
        // One that has gone has ended.
        left = others(folder, own);
        let mut changed = left
            .iter()
            .filter(|(path, said)| first.get(*path) != Some(said));
        if let Some((path, _)) = changed.next() {
            return Err(Machine::of(path));
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(400);

    fn machine(name: &str, boot: Option<&str>) -> Machine {
        Machine {
            name: name.to_owned(),
            boot: boot.map(str::to_owned),
        }
    }

    async fn found(folder: &Path, own: &Machine) -> Result<usize, String> {
        let found = silence(folder, own, SHORT, |_| ()).await;
        found.map(|left| left.len()).map_err(|other| other.name)
    }

    #[tokio::test]
    async fn a_machine_at_work_is_named_and_a_silent_one_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let here = machine("here", None);
        assert_eq!(found(folder, &here).await, Ok(0));
        fs::write(folder.join("here.12.0"), "1").unwrap();
        assert_eq!(found(folder, &here).await, Ok(0));

        // It counts on, whatever its clock says.
        let node7 = folder.join("node7.local.12.0");
        let write = |count: &str, age: Duration| {
            fs::write(&node7, count).unwrap();
            let file = File::options().write(true).open(&node7).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        for age in [Duration::ZERO, Duration::from_hours(1)] {
            write("1", age);
            let (seen, ()) = tokio::join!(found(folder, &here), async {
                tokio::time::sleep(SHORT / 2).await;
                write("2", age);
            });
            assert_eq!(seen, Err("node7.local".to_owned()), "{age:?}");
        }
        // It says no more, although what it said last is new.
        write("3", Duration::ZERO);
        assert_eq!(found(folder, &here).await, Ok(1));
        assert!(!node7.exists());
        assert!(folder.join("here.12.0").exists());
    }

    #[tokio::test]
    async fn a_kernel_is_a_machine_whatever_its_containers_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let host = machine("host", Some("3f2a-11"));
        let container = machine("f00ba4", Some("3f2a-11"));
        let mark = new_file(folder, &host).unwrap();
        assert_eq!(Machine::of(&mark), host);
        // The same process of another container, under the same name.
        assert_ne!(new_file(folder, &host).unwrap(), mark);
        assert_eq!(found(folder, &container).await, Ok(0));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
        // Where one of them does not say which kernel it is, the name decides.
        assert!(machine("host", None).is(&host));
        assert!(!machine("f00ba4", None).is(&host));
        // Another machine of the same name, or this one before it was restarted.
        assert!(!machine("host", Some("77-11")).is(&host));
        assert_eq!(others(folder, &machine("host", Some("77-11"))).len(), 2);

        // What a killed process has left goes with the next one.
        let file = File::options().write(true).open(&mark).unwrap();
        file.set_modified(SystemTime::now() - 2 * SILENCE).unwrap();
        forget_killed(folder, &machine("node7", Some("77-11")));
        assert!(mark.exists());
        forget_killed(folder, &container);
        assert!(!mark.exists());
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_mark_is_there_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("registry.db");
        let mark = Mark::set(&database).unwrap();
        let marks = || fs::read_dir(super::folder(&database)).unwrap().count();
        assert_eq!(marks(), 1);
        let other = Mark::set(&database).unwrap();
        assert_eq!(marks(), 2);
        drop((mark, other));
        assert_eq!(marks(), 0);
        // Those of this machine are not others.
        let _mark = Mark::set(&database).unwrap();
        assert_eq!(wait_for_silence(&database).await.unwrap(), Marks::new());
        assert!(is_alone(&database, &Marks::new()));
        assert_eq!(seen_lately(&database), None);
        fs::write(super::folder(&database).join("node7.12.0"), "1").unwrap();
        assert!(!is_alone(&database, &Marks::new()));
        assert_eq!(seen_lately(&database), Some("node7".to_owned()));
    }
}
