//! Where everything lies below the home folder (`runs/` by default).

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, Fingerprint, durable};

use crate::manifest::{MANIFEST_FILE, Manifest};

/// What the name of a folder in `work/` begins with that is about to be removed.
pub const DISCARDED: &str = "discarded-";

/// What the name of a folder in `work/` begins with that holds an artifact until another one replaces it.
pub const REPLACED: &str = "replaced-";

/// What lies in the place of an artifact.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// An artifact.
    Artifact(Box<Manifest>),
    /// Something that is none, so that it has to be made and cannot be published there.
    Unusable {
        /// What is wrong with it.
        problem: String,
    },
}

/// The layout of the home folder.
#[derive(Clone, Debug)]
pub struct Store {
    home: PathBuf,
}

/// The folders of a home folder.
const FOLDERS: [&str; 5] = ["artifacts", "work", "logs", "locks", "cache"];

impl Store {
    /// Whether a name in a home folder is that of something that this program puts there.
    pub fn is_entry(name: &str) -> bool {
        FOLDERS.contains(&name) || name.starts_with("registry") || name.starts_with(".registry")
    }

    /// Opens a home folder and makes what is missing in it.
    pub fn open(home: &Path) -> Result<Self, FileError> {
        for folder in FOLDERS {
            durable::create_dir_all(&home.join(folder))?;
        }
        Ok(Self {
            home: home.to_owned(),
        })
    }

    /// The home folder itself.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The registry's file.
    pub fn registry(&self) -> PathBuf {
        self.home.join("registry.db")
    }

    /// The folder of all finished artifacts of a kind, whether or not it exists.
    pub fn artifacts(&self, kind: &str) -> PathBuf {
        self.home.join("artifacts").join(kind)
    }

    /// The folder of a finished artifact, whether or not it exists.
    pub fn artifact(&self, kind: &str, fingerprint: Fingerprint) -> PathBuf {
        self.artifacts(kind).join(fingerprint.to_string())
    }

    /// What lies in the place of an artifact.
    ///
    /// # Errors
    /// A folder or manifest that the system does not let this process see; a manifest that is damaged is
    /// [`Found::Unusable`].
    pub fn look_up(&self, kind: &str, fingerprint: Fingerprint) -> Result<Found, FileError> {
        let folder = self.artifact(kind, fingerprint);
        if !is_there(&folder)? {
            return Ok(Found::Nothing);
        }
        let problem = match Manifest::read(&folder) {
            Ok(manifest) if manifest.kind != kind || manifest.fingerprint != fingerprint => {
                "its `manifest.json` is of another artifact".to_owned()
            }
            Ok(manifest) => return Ok(Found::Artifact(Box::new(manifest))),
            Err(error) if error.is_not_found() => format!("it has no `{MANIFEST_FILE}`"),
            Err(error) if error.is_damage() => error.to_string(),
            Err(error) => return Err(error),
        };
        Ok(Found::Unusable { problem })
    }

    /// The manifest of an artifact, if the artifact is present and whole.
    pub fn find(
        &self,
        kind: &str,
        fingerprint: Fingerprint,
    ) -> Result<Option<Manifest>, FileError> {
        Ok(match self.look_up(kind, fingerprint)? {
            Found::Artifact(manifest) => Some(*manifest),
            Found::Nothing | Found::Unusable { .. } => None,
        })
    }

    /// Renames what is in the place of an artifact and is none to `FINGERPRINT.unusable`, beside it, so that the stage can
    /// publish; says what it was and where it is. Call it under the fingerprint's lock.
    pub fn set_aside_unusable(
        &self,
        kind: &str,
        fingerprint: Fingerprint,
    ) -> Result<Option<String>, FileError> {
        let Found::Unusable { problem } = self.look_up(kind, fingerprint)? else {
            return Ok(None);
        };
        let folder = self.artifact(kind, fingerprint);
        let names = (1_u32..).map(|number| match number {
            1 => format!("{fingerprint}.unusable"),
            _ => format!("{fingerprint}.unusable-{number}"),
        });
        let mut places = names.map(|name| self.artifacts(kind).join(name));
        let aside = loop {
            let place = places.next();
            let place = place.expect("a folder has fewer entries than there are numbers");
            if !is_there(&place)? {
                break place;
            }
        };
        durable::move_aside(&folder, &aside)?;
        Ok(Some(format!(
            "`{}` was not a complete artifact ({problem}); it is set aside as `{}`",
            folder.display(),
            aside.display()
        )))
    }

    /// The folder below which finished artifacts of a kind are to lie, where that is another disk than that of unfinished
    /// work: what is finished could not be renamed to its place.
    pub fn other_disk(&self, kind: &str) -> Option<PathBuf> {
        let device = |path: &Path| path.metadata().map(|metadata| metadata.dev());
        let folder = Some(self.artifacts(kind)).filter(|folder| folder.is_dir());
        let folder = folder.unwrap_or_else(|| self.home.join("artifacts"));
        match (device(&folder), device(&self.home.join("work"))) {
            (Ok(there), Ok(here)) if there != here => Some(folder),
            _ => None,
        }
    }

    /// Puts an external artifact in place, by a link to its folder: nothing is copied.
    pub fn link_external(
        &self,
        kind: &str,
        fingerprint: Fingerprint,
        folder: &Path,
    ) -> Result<(), FileError> {
        durable::create_dir_all(&self.artifacts(kind))?;
        durable::link(folder, &self.artifact(kind, fingerprint))
    }

    /// Removes a finished artifact, if it exists. Killed on the way, it leaves the artifact whole or gone.
    pub fn discard(&self, kind: &str, fingerprint: Fingerprint) -> Result<(), FileError> {
        let aside = self
            .home
            .join("work")
            .join(format!("{DISCARDED}{fingerprint}"));
        durable::discard_directory(&self.artifact(kind, fingerprint), &aside)
    }

    /// Moves a finished artifact aside until another one is published in its place, as the stage's own worker does: see
    /// [`Store::replaced`]. Killed on the way, it leaves the artifact in either place.
    pub fn set_aside_replaced(
        &self,
        kind: &str,
        fingerprint: Fingerprint,
    ) -> Result<(), FileError> {
        if self.find(kind, fingerprint)?.is_none() {
            // It is aside already, or the worker sets aside what lies there.
            return Ok(());
        }
        self.remove_replaced(fingerprint)?;
        let aside = self.replaced(fingerprint);
        durable::move_aside(&self.artifact(kind, fingerprint), &aside)
    }

    /// Where an artifact lies that is being replaced; it can be moved back by hand.
    pub fn replaced(&self, fingerprint: Fingerprint) -> PathBuf {
        self.home
            .join("work")
            .join(format!("{REPLACED}{fingerprint}"))
    }

    /// Removes the artifact that was replaced, if there is one.
    pub fn remove_replaced(&self, fingerprint: Fingerprint) -> Result<(), FileError> {
        let aside = self.replaced(fingerprint);
        // A link to an external artifact goes, what it leads to stays.
        if aside.is_symlink() {
            durable::remove_file(&aside)
        } else {
            durable::remove_dir_all(&aside)
        }
    }

    /// The folder in which an unfinished stage works.
    pub fn work(&self, fingerprint: Fingerprint) -> PathBuf {
        self.home.join("work").join(fingerprint.to_string())
    }

    /// The lock that only one process at a time holds on a fingerprint.
    pub fn lock(&self, fingerprint: Fingerprint) -> PathBuf {
        self.home.join("locks").join(format!("{fingerprint}.lock"))
    }

    /// Takes the lock under which a run is planned and recorded, and under which `gc` deletes: an artifact
    /// that a plan counts on is not deleted before the registry knows that it is needed.
    pub fn lock_planning(&self) -> Result<FileLock, FileError> {
        FileLock::acquire(&self.home.join("locks/planning.lock"))
    }

    /// Takes the lock by which others see that this process is alive. Hold it as long as the process lives.
    ///
    /// The kernel releases it however the process ends; a process id alone says nothing, since ids are used
    /// again and a dead process keeps its id until its parent has asked for its end. Containers that share a home
    /// may each have a process of this id: the lock is the first that is free of `process-ID.lock`, `process-ID-1.lock` …
    pub fn announce_process(&self) -> Result<FileLock, FileError> {
        let mut locks = self.process_locks(std::process::id());
        loop {
            let path = locks.next().expect("there are more names than processes");
            if let Some(lock) = FileLock::try_acquire(&path)? {
                return Ok(lock);
            }
        }
    }

    /// Whether a supervisor or worker of this id is alive. In doubt, it is.
    pub fn is_alive(&self, pid: u32) -> bool {
        self.process_locks(pid)
            // One that cannot be looked at may be held.
            .take_while(|lock| lock.try_exists().unwrap_or(true))
            .any(|lock| !matches!(FileLock::try_acquire(&lock), Ok(Some(_))))
    }

    /// The id of a supervisor or worker that is at work, if there is any.
    pub fn process_at_work(&self) -> Result<Option<u32>, FileError> {
        let ids = durable::list(&self.home.join("locks"))?
            .into_iter()
            .filter_map(|path| {
                let name = path.file_stem()?.to_str()?;
                let id = name.strip_prefix("process-")?.split('-').next()?;
                id.parse().ok()
            });
        Ok(ids.into_iter().find(|&pid: &u32| self.is_alive(pid)))
    }

    fn process_locks(&self, pid: u32) -> impl Iterator<Item = PathBuf> {
        let folder = self.home.join("locks");
        (0_u32..).map(move |number| match number {
            0 => folder.join(format!("process-{pid}.lock")),
            _ => folder.join(format!("process-{pid}-{number}.lock")),
        })
    }

    /// The folder of a run's logs.
    pub fn logs(&self, run: &str) -> PathBuf {
        self.home.join("logs").join(run)
    }

    /// What plans remember: digests of sources, and of what they read that may be gone by now. It may be deleted; sources
    /// are then hashed again, and those that are gone are missed.
    pub fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }
}

/// Whether something lies at a path, be it a link to nowhere. What cannot be looked at is an error, and not absent.
fn is_there(path: &Path) -> Result<bool, FileError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError::new("look at", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_not_absent() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let fingerprint = Fingerprint::of(&serde_json::json!(1));
        let look_up = || store.look_up("train", fingerprint);
        assert!(matches!(look_up(), Ok(Found::Nothing)));
        // A link to itself cannot be followed: as of a file server that does not answer, also for root.
        std::os::unix::fs::symlink("train", store.artifacts("train")).unwrap();
        let error = look_up().unwrap_err().to_string();
        assert!(error.contains(&fingerprint.to_string()), "{error}");
        assert!(store.set_aside_replaced("train", fingerprint).is_err());
    }

    #[test]
    fn processes_of_one_id_do_not_wait_for_each_other() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let id = std::process::id();
        assert!(!store.is_alive(id));
        assert_eq!(store.process_at_work().unwrap(), None);
        // As it looks from two containers: the same number, another process.
        let first = store.announce_process().unwrap();
        let second = store.announce_process().unwrap();
        assert!(
            home.path()
                .join(format!("locks/process-{id}-1.lock"))
                .exists()
        );
        drop(first);
        assert!(store.is_alive(id), "the second one is alive");
        assert_eq!(store.process_at_work().unwrap(), Some(id));
        drop(second);
        assert!(!store.is_alive(id));
        assert_eq!(store.process_at_work().unwrap(), None);
    }
}
