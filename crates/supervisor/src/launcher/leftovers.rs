//! What attempts of several ranks keep in their run's folder: a file or a folder by which the ranks meet, with the signs that
//! they give beside it. An attempt removes it at its end, unless its supervisor is killed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use patchwork_artifacts::Store;
use patchwork_artifacts::protocol::Job;
use patchwork_core::{FileError, durable};

/// What stands between the stage and the supervisor's process id.
const MARK: &str = ".ranks-";

/// A name of this attempt alone: what an earlier one has left is not taken for its own.
pub(super) fn attempt_name(job: &Job) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!(
        "{}{MARK}{}-{}-{}",
        job.stage,
        std::process::id(),
        now.unwrap_or_default().as_nanos(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What attempts whose supervisor is gone have left in the folder of a run.
pub(crate) fn leftovers(store: &Store, folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = durable::list(folder)?;
    paths.retain(|path| supervisor_of(path).is_some_and(|pid| !store.is_alive(pid)));
    Ok(paths)
}

/// Removes what attempts whose supervisor is gone have left of a run. Ranks that a launcher still runs for them stop: their
/// folder is gone.
pub fn remove_leftovers(store: &Store, run: &str) -> Result<(), FileError> {
    let folder = store.logs(run);
    if !folder.is_dir() {
        return Ok(());
    }
    let found = leftovers(store, &folder)?;
    found.iter().try_for_each(|path| remove(path))
}

/// Removes a file or a folder.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    if durable::is_real_dir(path) {
        durable::remove_dir_all(path)
    } else {
        durable::remove_file(path)
    }
}

/// The process id of the supervisor whose attempt this is of.
fn supervisor_of(path: &Path) -> Option<u32> {
    let (_, rest) = path.file_name()?.to_str()?.split_once(MARK)?;
    rest.split('-').next()?.parse().ok()
}
