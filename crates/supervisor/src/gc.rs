//! What may be deleted: artifacts and unfinished work that no recorded run needs.
//!
//! Only what shows that it is ours goes: an artifact by a manifest of its own fingerprint, work by what is in it. Links
//! are not followed: what they lead to may belong to somebody else, or to another home.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchwork_artifacts::store::{DISCARDED, Found, Store};
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
    /// What an interrupted deletion or a killed supervisor left.
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
}

/// Whether something in a folder of `work/` is a stage's.
fn is_of_work(path: &Path) -> bool {
    let name = name_of(path);
    ["artifact", "state"].contains(&name.as_str())
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
mod tests {
    use super::*;
    use patchwork_artifacts::manifest::{MANIFEST_FORMAT, Manifest, Outcome};

    fn fingerprint(number: u32) -> Fingerprint {
        Fingerprint::of(&serde_json::json!(number))
    }

    fn manifest(kind: &str, fingerprint: Fingerprint) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT.to_owned(),
            kind: kind.to_owned(),
            fingerprint,
            format_version: 1,
            settings: serde_json::json!({}),
            source: None,
            inputs: Vec::new(),
            files: Vec::new(),
            outcome: Outcome::default(),
        }
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
        let artifact = |kind: &str, fingerprint| {
            let folder = make(store.artifact(kind, fingerprint));
            manifest(kind, fingerprint).write(&folder).unwrap();
            folder
        };
        let work = |fingerprint| {
            make(store.work(fingerprint).join("state"));
            store.work(fingerprint)
        };
        let kept = artifact("train", needed);
        let deleted = artifact("train", old);
        let of_kept_kind = artifact("evaluate", old);
        let resumable = work(unfinished);
        let given_up = work(abandoned);
        let busy = work(running);
        let leftover = make(home.path().join(format!("work/discarded-{old}")));
        let notes = make(home.path().join("artifacts/train/notes"));
        // Called as ours are, and somebody's own.
        let photos = make(home.path().join("work/discarded-photos"));
        let without_manifest = make(store.artifact("train", running));
        let of_another = make(store.artifact("train", abandoned));
        manifest("train", old).write(&of_another).unwrap();
        let own_work = make(store.work(old));
        let outside = tempfile::tempdir().unwrap();
        let external = make(outside.path().join(old.to_string()));
        manifest("sample", old).write(&external).unwrap();
        std::os::unix::fs::symlink(outside.path(), home.path().join("artifacts/sample")).unwrap();
        let linked = home.path().join(format!("work/{needed}"));
        std::os::unix::fs::symlink(&external, &linked).unwrap();
        let _worker = FileLock::acquire(&store.lock(running)).unwrap();
        let _alive = store.announce_process().unwrap();
        let logs = make(store.logs("test-1"));
        // No process has the first number: the kernel's are smaller.
        let met_before = make(logs.join("train.ranks-4194305-1-0"));
        let sign_before = logs.join("sample.ranks-4194305-1-0.rank-1");
        let met = logs.join(format!("train.ranks-{}-1-0.json", std::process::id()));
        for file in [&sign_before, &met] {
            std::fs::write(file, b"1234").unwrap();
        }

        let Unneeded {
            garbage,
            left_alone,
        } = find(
            &store,
            &Needed {
                artifacts: [needed].into(),
                unfinished: [unfinished].into(),
                kept_kinds: ["evaluate".to_owned()].into(),
            },
        )
        .unwrap();
        let mut untouched: Vec<PathBuf> = left_alone.into_iter().map(|(path, _)| path).collect();
        untouched.sort();
        let mut expected = [
            home.path().join("artifacts/sample"),
            of_another.clone(),
            without_manifest.clone(),
            linked.clone(),
            own_work.clone(),
        ];
        expected.sort();
        assert_eq!(untouched, expected);
        let manifest_bytes = std::fs::metadata(deleted.join("manifest.json"))
            .unwrap()
            .len();
        assert!(garbage.iter().all(|garbage| match garbage.what {
            GarbageKind::Artifact(_) => garbage.bytes == 4 + manifest_bytes,
            _ => garbage.bytes == 4,
        }));
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
            (notes, true),
            (photos, true),
            (without_manifest, true),
            (of_another, true),
            (own_work, true),
            (linked, true),
            (external, true),
            (logs, true),
            (met_before, false),
            (sign_before, false),
            (met, true),
        ] {
            assert_eq!(path.exists(), there, "{}", path.display());
        }
    }
}
