//! Folders for work beside its result, which are removed when the work is over: only where they are ours.
//!
//! A folder that this program makes carries a mark, a file in it. One without the mark may be somebody's own of the same
//! name: it is refused, never used and never removed. Links are not followed. Of a marked folder only the entries that
//! its owner knows go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::file_error::FileError;

/// The file that marks a folder as this program's.
pub const MARK: &str = ".patchwork-work";

const MARK_TEXT: &[u8] = b"patchwork works in this folder, and removes it when it is done\n";

/// Why a folder cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Something else lies there.
    #[error(
        "cannot work in `{path}`, which is removed afterwards: it {problem}\n\
         hint: move it away, or choose another place; if it is unfinished work of an earlier version of patchwork, \
         `touch {path}/{MARK}` lets it be resumed",
        path = path.display()
    )]
    NotOurs {
        /// What lies there.
        path: PathBuf,
        /// What shows that it may not be this program's.
        problem: &'static str,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A marked folder, in which work may be resumed and which may be removed.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    is_new: bool,
    is_entry: fn(&str) -> bool,
}

impl WorkFolder {
    /// Makes the folder with its mark, or takes one that is marked or empty. `is_entry` knows the names of what this
    /// program puts directly into it.
    ///
    /// # Errors
    /// [`ClaimError::NotOurs`] for a link, a file, and a folder with something in it and no mark.
    pub fn claim(path: &Path, is_entry: fn(&str) -> bool) -> Result<Self, ClaimError> {
        let refuse = |problem| {
            Err(ClaimError::NotOurs {
                path: path.to_owned(),
                problem,
            })
        };
        let mark = path.join(MARK);
        let is_new = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = path.parent();
                if let Some(above) = above.filter(|above| !above.as_os_str().is_empty()) {
                    durable::create_dir_all(above)?;
                }
                durable::create_new_dir(path)?;
                durable::write(&mark, MARK_TEXT)?;
                true
            }
            Err(source) => return Err(FileError::new("look at", path, source).into()),
            Ok(metadata) if metadata.is_symlink() => return refuse("is a link"),
            Ok(metadata) if !metadata.is_dir() => return refuse("is not a folder"),
            Ok(_) if is_file(&mark) => false,
            Ok(_) if is_empty(path)? => {
                durable::write(&mark, MARK_TEXT)?;
                true
            }
            Ok(_) => return refuse("is not marked as a work folder, so it may be yours"),
        };
        Ok(Self {
            path: path.to_owned(),
            is_new,
            is_entry,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was in it before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Removes what this program put into it, then the folder; gives what else is in it, for which it stays.
    pub fn remove(self) -> Result<Vec<PathBuf>, FileError> {
        let mark = self.path.join(MARK);
        let mut others = Vec::new();
        for path in durable::list(&self.path)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path == mark || is_left_mark(&name) {
                continue;
            }
            if !(self.is_entry)(&name) {
                others.push(path);
            } else if durable::is_real_dir(&path) {
                durable::remove_dir_all(&path)?;
            } else {
                durable::remove_file(&path)?;
            }
        }
        if others.is_empty() {
            // The mark goes last: killed before, the next start finds it; killed after, an empty folder.
            durable::remove_file(&mark)?;
            durable::remove_partials(&self.path)?;
            durable::remove_empty_dir(&self.path)?;
        }
        Ok(others)
    }
}

/// Whether a name is that of a mark that a killed process did not finish.
fn is_left_mark(name: &str) -> bool {
    name.strip_prefix('.') == Some(".patchwork-work.partial")
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|entry| entry.is_file())
}

/// Whether nothing is in a folder but a mark that a killed process did not finish.
fn is_empty(path: &Path) -> Result<bool, FileError> {
    let mut entries = fs::read_dir(path)
        .map_err(|source| FileError::new("list the folder", path, source))?
        .filter_map(Result::ok);
    Ok(entries.all(|entry| is_left_mark(&entry.file_name().to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_entry(name: &str) -> bool {
        name == "ours"
    }

    fn refusal(path: &Path) -> &'static str {
        match WorkFolder::claim(path, is_entry) {
            Err(ClaimError::NotOurs { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_marked_folder_is_worked_in_and_removed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("set.work");
        let folder = WorkFolder::claim(&path, is_entry).unwrap();
        assert!(folder.is_new());
        fs::create_dir_all(path.join("ours/below")).unwrap();
        // After a crash.
        let folder_again = WorkFolder::claim(&path, is_entry).unwrap();
        assert!(!folder_again.is_new());
        assert_eq!(folder_again.remove().unwrap(), [] as [PathBuf; 0]);
        assert!(!path.exists());
        drop(folder);

        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.tex"), b"years").unwrap();
        assert!(refusal(&path).contains("not marked"));
        let link = place.path().join("link.work");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refusal(&link).contains("link"));
        std::os::unix::fs::symlink("nowhere", place.path().join("dangling")).unwrap();
        assert!(refusal(&place.path().join("dangling")).contains("link"));
        assert!(refusal(&path.join("thesis.tex")).contains("not a folder"));
        assert_eq!(fs::read(path.join("thesis.tex")).unwrap(), b"years");
    }

    #[test]
    fn what_is_not_ours_stays_in_a_marked_folder() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("set.work");
        let folder = WorkFolder::claim(&path, is_entry).unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), b"").unwrap();
        std::os::unix::fs::symlink(&outside, path.join("ours")).unwrap();
        fs::write(path.join("notes"), b"").unwrap();
        assert_eq!(folder.remove().unwrap(), [path.join("notes")]);
        assert!(!path.join("ours").exists() && path.join("notes").exists());
        assert!(outside.join("file").exists());
        // Work can be resumed there.
        assert!(WorkFolder::claim(&path, is_entry).is_ok());
    }
}
