//! The file in which what was hashed of one source is remembered.
//!
//! Compact JSON: a format, the source's path, and size, times, inode and digest of its files by name. It is
//! replaced as a whole, so that it is read without a lock. A lock is held only while changes are merged into what is
//! there, so that of two commands neither loses what the other found.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_core::durable::{self, DurableFile};
use patchwork_core::file_error::{self, FileError};
use patchwork_core::lock::FileLock;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "patchwork.source-cache/3";

/// Files by name.
pub(super) type Known = BTreeMap<String, FileState>;

/// What a file was when it was hashed, written as an array.
///
/// A file that is put in the place of another one has another inode or was changed at another time, even where it has the
/// same size and date of modification, as after `cp -p` or out of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct FileState {
    pub(super) bytes: u64,
    pub(super) digest: Digest,
    identity: Identity,
}

/// Size, modification, inode, change, digest.
type Written = (u64, i64, u64, i64, Digest);

/// What distinguishes one content at a path from another without reading it. Times are in nanoseconds since 1970, negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    modified_ns: i64,
    inode: u64,
    changed_ns: i64,
}

impl FileState {
    /// Hashes a file.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        // Looked at first: a file that changes meanwhile has another time afterwards, and is hashed again.
        let (bytes, identity) = look(path)?;
        Ok(Self {
            bytes,
            identity,
            digest: Digest::of_file(path)?,
        })
    }

    /// Whether the file at a path is still what it was, by its size, times and inode.
    pub(super) fn is_of(&self, path: &Path) -> Result<bool, FileError> {
        Ok(look(path)? == (self.bytes, self.identity))
    }
}

fn look(path: &Path) -> Result<(u64, Identity), FileError> {
    let metadata =
        std::fs::metadata(path).map_err(|source| FileError::new("read", path, source))?;
    let identity = Identity {
        modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
        changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    };
    Ok((metadata.len(), identity))
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

impl From<Written> for FileState {
    fn from((bytes, modified_ns, inode, changed_ns, digest): Written) -> Self {
        Self {
            bytes,
            digest,
            identity: Identity {
                modified_ns,
                inode,
                changed_ns,
            },
        }
    }
}

impl From<FileState> for Written {
    fn from(state: FileState) -> Self {
        let Identity {
            modified_ns,
            inode,
            changed_ns,
        } = state.identity;
        (state.bytes, modified_ns, inode, changed_ns, state.digest)
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: String,
    /// For people: the file's own name is a digest.
    source: String,
    files: Known,
}

/// The cache file of one source, whether or not it exists.
pub(super) struct CacheFile {
    path: PathBuf,
    source: String,
}

impl CacheFile {
    /// The file, in a folder of such, for the source at a path without links.
    pub(super) fn of(folder: &Path, source: &Path) -> Self {
        let name = Digest::of(source.as_os_str().as_encoded_bytes());
        Self {
            path: folder.join(format!("{name}.json")),
            source: source.to_string_lossy().into_owned(),
        }
    }

    /// What is remembered; a file that is missing or damaged is an empty one, made again from the source.
    pub(super) fn load(&self) -> Known {
        file_error::read_json::<Content>(&self.path)
            .ok()
            .filter(|content| content.format == FORMAT)
            .map(|content| content.files)
            .unwrap_or_default()
    }

    /// Adds files and removes others, in what is remembered by then.
    pub(super) fn change(
        &self,
        added: Vec<(String, FileState)>,
        gone: &[String],
    ) -> Result<(), FileError> {
        if let Some(folder) = self.path.parent() {
            durable::create_dir_all(folder)?;
        }
        let _lock = FileLock::acquire(&self.path.with_extension("lock"))?;
        let mut files = self.load();
        for name in gone {
            files.remove(name);
        }
        files.extend(added);
        let content = Content {
            format: FORMAT.to_owned(),
            source: self.source.clone(),
            files,
        };
        let mut file = DurableFile::create(&self.path)?;
        let failed = |cause| FileError::new("write", &self.path, cause);
        serde_json::to_writer(&mut file, &content).map_err(|cause| failed(cause.into()))?;
        file.write_all(b"\n").map_err(failed)?;
        file.commit()
    }
}
