//! What may be deleted: artifacts and unfinished work that no recorded run needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchwork_artifacts::store::{DISCARDED, Store};
use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, Fingerprint, durable};
use serde::Serialize;

/// What recorded runs need.
#[derive(Clone, Debug, Default)]
pub struct Needed {
    /// Artifacts of their stages.
    pub artifacts: BTreeSet<Fingerprint>,
    /// Stages that were interrupted or failed, whose work is gone on with.
    pub unfinished: BTreeSet<Fingerprint>,
    /// Kinds of stages whose artifacts stay whether or not a run needs them.
    pub kept_kinds: BTreeSet<String>,
}

/// Something that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is.
    pub what: GarbageKind,
    /// Its folder.
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
    /// What an interrupted deletion left.
    Leftover,
}

/// Finds what no recorded run needs. Call it, and [`delete`], under [`Store::lock_planning`].
pub fn find(store: &Store, needed: &Needed) -> Result<Vec<Garbage>, FileError> {
    let mut garbage = Vec::new();
    for folder in durable::list(&store.home().join("artifacts"))? {
        let kind = name_of(&folder);
        if needed.kept_kinds.contains(&kind) {
            continue;
        }
        for path in durable::list(&folder)? {
            // A folder that is not called by a fingerprint is not ours.
            let Some(fingerprint) = fingerprint_of(&path) else {
                continue;
            };
            if !needed.artifacts.contains(&fingerprint) {
                garbage.push(Garbage {
                    what: GarbageKind::Artifact(kind.clone()),
                    bytes: size_of(&path)?,
                    path,
                    fingerprint: Some(fingerprint),
                });
            }
        }
    }
    for path in durable::list(&store.home().join("work"))? {
        let fingerprint = fingerprint_of(&path);
        let what = match fingerprint {
            Some(fingerprint) if !needed.unfinished.contains(&fingerprint) => GarbageKind::Work,
            None if name_of(&path).starts_with(DISCARDED) => GarbageKind::Leftover,
            _ => continue,
        };
        garbage.push(Garbage {
            what,
            bytes: size_of(&path)?,
            path,
            fingerprint,
        });
    }
    Ok(garbage)
}

/// Deletes a piece of garbage; says whether it did. What a process works on at this moment stays.
pub fn delete(store: &Store, garbage: &Garbage) -> Result<bool, FileError> {
    let Some(fingerprint) = garbage.fingerprint else {
        durable::remove_dir_all(&garbage.path)?;
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
        if folder.is_dir() {
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

fn size_of(folder: &Path) -> Result<u64, FileError> {
    let mut bytes = 0;
    for path in durable::list(folder)? {
        bytes += if path.is_dir() {
            size_of(&path)?
        } else {
            std::fs::metadata(&path)
                .map_err(|source| FileError::new("read the size of", &path, source))?
                .len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: u32) -> Fingerprint {
        Fingerprint::of(&serde_json::json!(number))
    }

    #[test]
    fn what_runs_need_and_what_is_worked_on_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let make = |path: PathBuf| {
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("file"), b"1234").unwrap();
            path
        };
        let [needed, old, unfinished, abandoned, running] = [1, 2, 3, 4, 5].map(fingerprint);
        let kept = make(store.artifact("train", needed));
        let deleted = make(store.artifact("train", old));
        let of_kept_kind = make(store.artifact("evaluate", old));
        let resumable = make(store.work(unfinished));
        let given_up = make(store.work(abandoned));
        let busy = make(store.work(running));
        let leftover = make(home.path().join("work/discarded-x"));
        let foreign = make(home.path().join("artifacts/train/notes"));
        let _worker = FileLock::acquire(&store.lock(running)).unwrap();

        let garbage = find(
            &store,
            &Needed {
                artifacts: [needed].into(),
                unfinished: [unfinished].into(),
                kept_kinds: ["evaluate".to_owned()].into(),
            },
        )
        .unwrap();
        assert!(garbage.iter().all(|garbage| garbage.bytes == 4));
        let done: Vec<bool> = garbage
            .iter()
            .map(|garbage| delete(&store, garbage).unwrap())
            .collect();
        assert_eq!(done.iter().filter(|done| !**done).count(), 1, "{garbage:?}");
        for (path, there) in [
            (kept, true),
            (deleted, false),
            (of_kept_kind, true),
            (resumable, true),
            (given_up, false),
            (busy, true),
            (leftover, false),
            (foreign, true),
        ] {
            assert_eq!(path.exists(), there, "{}", path.display());
        }
    }
}
