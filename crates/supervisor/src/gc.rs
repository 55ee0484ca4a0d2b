//! What may be deleted: artifacts and unfinished work that no recorded run needs.
//!
//! Only what shows that it is ours goes: an artifact by a manifest of its own fingerprint, work by what is in it. Links
//! are not followed: what they lead to may belong to somebody else, or to another home.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchwork_artifacts::manifest::Manifest;
use patchwork_artifacts::store::{DISCARDED, Found, REPLACED, Store};
use patchwork_artifacts::unfinished;
use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, Fingerprint, durable};
use serde::Serialize;

use crate::launcher::{leftovers, remove};

/// What recorded runs need.
#[derive(Clone, Debug, Default)]
pub struct Needed {
    /// Artifacts of their stages.
    pub artifacts: BTreeSet<Fingerprint>,
    /// Stages that were interrupted or failed, whose work can be resumed.
    pub unfinished: BTreeSet<Fingerprint>,
    /// Kinds of stages whose artifacts stay whether or not a run needs them.
    pub kept_kinds: BTreeSet<String>,
}

/// Something that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is.
    pub what: GarbageKind,
    /// Its folder or file.
    pub path: PathBuf,
    /// The sum of its files.
    pub bytes: u64,
    /// What its folder is called by; none for a leftover.
    #[serde(skip)]
    pub fingerprint: Option<Fingerprint>,
}

/// What a piece of garbage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GarbageKind {
    /// The finished artifact of a stage of this kind.
    Artifact(String),
    /// The unfinished work of a stage.
    Work,
    /// What an interrupted deletion or a killed process left.
    Leftover,
}

/// What was found that no recorded run needs.
#[derive(Debug, Default)]
pub struct Unneeded {
    /// What may be deleted.
    pub garbage: Vec<Garbage>,
    /// What is left alone though no run needs it, with the reason.
    pub left_alone: Vec<(PathBuf, String)>,
}

/// Finds what no recorded run needs. Call it, and [`delete`], under [`Store::lock_planning`].
pub fn find(store: &Store, needed: &Needed) -> Result<Unneeded, FileError> {
    let mut found = Unneeded::default();
    for folder in found.folders_in(&store.home().join("artifacts"))? {
        let kind = name_of(&folder);
        if needed.kept_kinds.contains(&kind) {
            continue;
        }
        for path in found.folders_in(&folder)? {
            // A folder that is not called by a fingerprint is not ours.
            let Some(fingerprint) = fingerprint_of(&path) else {
                continue;
            };
            if needed.artifacts.contains(&fingerprint) {
                continue;
            }
            match store.look_up(&kind, fingerprint) {
                Ok(Found::Artifact(_)) => found.garbage.push(Garbage {
                    what: GarbageKind::Artifact(kind.clone()),
                    bytes: size_of(&path)?,
                    path,
                    fingerprint: Some(fingerprint),
                }),
                Ok(Found::Unusable { problem }) => found.left_alone.push((path, problem)),
                Ok(Found::Nothing) => {}
                Err(error) => found.left_alone.push((path, error.to_string())),
            }
        }
    }
    for path in found.folders_in(&store.home().join("work"))? {
        let fingerprint = fingerprint_of(&path);
        let replaced = name_of(&path)
            .strip_prefix(REPLACED)
            .and_then(|name| name.parse().ok());
        if let Some(replaced) = replaced {
            found.add_replaced(store, needed, path, replaced)?;
            continue;
        }
        let discarded = name_of(&path)
            .strip_prefix(DISCARDED)
            .map(str::parse::<Fingerprint>);
        let what = match (fingerprint, discarded) {
            (Some(fingerprint), _) if !needed.unfinished.contains(&fingerprint) => {
                GarbageKind::Work
            }
            (None, Some(Ok(_))) => GarbageKind::Leftover,
            _ => continue,
        };
        if what == GarbageKind::Work
            && let Some(other) = durable::list(&path)?
                .into_iter()
                .find(|path| !is_of_work(path))
        {
            let problem = format!("`{}` in it is not a stage's", name_of(&other));
            found.left_alone.push((path, problem));
            continue;
        }
        found.garbage.push(Garbage {
            what,
            bytes: size_of(&path)?,
            path,
            fingerprint,
        });
    }
    for run in durable::list(&store.home().join("logs"))? {
        if !durable::is_real_dir(&run) {
            continue;
        }
        for path in leftovers(store, &run)? {
            found.garbage.push(Garbage {
                what: GarbageKind::Leftover,
                bytes: size_of(&path)?,
                path,
                fingerprint: None,
            });
        }
    }
    Ok(found)
}

impl Unneeded {
    /// The folders in a folder; links are left alone.
    fn folders_in(&mut self, folder: &Path) -> Result<Vec<PathBuf>, FileError> {
        const LINK: &str = "it is a link, and links are not followed";
        let is_link = |path: &Path| path.is_symlink();
        if is_link(folder) {
            self.left_alone.push((folder.to_owned(), LINK.to_owned()));
            return Ok(Vec::new());
        }
        let mut paths = durable::list(folder)?;
        let links = paths.iter().filter(|path| is_link(path));
        let links = links.map(|path| (path.clone(), LINK.to_owned()));
        self.left_alone.extend(links);
        paths.retain(|path| durable::is_real_dir(path));
        Ok(paths)
    }

    /// Adds an artifact that was moved aside until another one replaces it: once that is published, or where no run needs it.
    fn add_replaced(
        &mut self,
        store: &Store,
        needed: &Needed,
        path: PathBuf,
        fingerprint: Fingerprint,
    ) -> Result<(), FileError> {
        let kind = match Manifest::read(&path) {
            Ok(manifest) if manifest.fingerprint == fingerprint => manifest.kind,
            Ok(_) => {
                let problem = "its `manifest.json` is of another artifact";
                self.left_alone.push((path, problem.to_owned()));
                return Ok(());
            }
            Err(error) => {
                self.left_alone.push((path, error.to_string()));
                return Ok(());
            }
        };
        let is_needed =
            needed.artifacts.contains(&fingerprint) || needed.kept_kinds.contains(&kind);
        if is_needed && store.find(&kind, fingerprint)?.is_none() {
            return Ok(());
        }
        self.garbage.push(Garbage {
            what: GarbageKind::Leftover,
            bytes: size_of(&path)?,
            path,
            fingerprint: Some(fingerprint),
        });
        Ok(())
    }
}

/// Whether something in a folder of `work/` is a stage's.
fn is_of_work(path: &Path) -> bool {
    let name = name_of(path);
    ["artifact", "state", "ranks.lock"].contains(&name.as_str())
        || name.trim_start_matches('.').starts_with(unfinished::FILE)
}

/// Deletes a piece of garbage; says whether it did. What a process works on at this moment stays.
pub fn delete(store: &Store, garbage: &Garbage) -> Result<bool, FileError> {
    let Some(fingerprint) = garbage.fingerprint else {
        remove(&garbage.path)?;
        return Ok(true);
    };
    let Some(_free) = FileLock::try_acquire(&store.lock(fingerprint))? else {
        return Ok(false);
    };
    match &garbage.what {
        GarbageKind::Artifact(kind) => store.discard(kind, fingerprint)?,
        GarbageKind::Work | GarbageKind::Leftover => durable::remove_dir_all(&garbage.path)?,
    }
    Ok(true)
}

/// The bytes of an artifact, 0 if it is not there.
pub fn artifact_bytes(store: &Store, fingerprint: Fingerprint) -> Result<u64, FileError> {
    for kind in durable::list(&store.home().join("artifacts"))? {
        let folder = kind.join(fingerprint.to_string());
        if durable::is_real_dir(&folder) {
            return size_of(&folder);
        }
    }
    Ok(0)
}

fn fingerprint_of(path: &Path) -> Option<Fingerprint> {
    name_of(path).parse().ok()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The bytes of a file, or of the files in a folder; those that links in it lead to do not count.
fn size_of(path: &Path) -> Result<u64, FileError> {
    let entry = (path.symlink_metadata())
        .map_err(|source| FileError::new("read the size of", path, source))?;
    if !entry.is_dir() {
        return Ok(entry.len());
    }
    let files = durable::list(path)?;
    files.iter().map(|path| size_of(path)).sum()
}

#[cfg(test)]
mod tests;
