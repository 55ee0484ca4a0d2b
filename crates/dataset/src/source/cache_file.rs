//! The file in which what was hashed of one source is remembered.
//!
//! Compact JSON: a format, the source's path, and size, modification time and digest of its files by name. It is
//! replaced as a whole, so that it is read without a lock. A lock is held only while changes are merged into what is
//! there, so that of two commands neither loses what the other found.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use patchwork_core::Digest;
use patchwork_core::durable::{self, DurableFile};
use patchwork_core::file_error::{self, FileError};
use patchwork_core::lock::FileLock;
use serde::{Deserialize, Serialize};

const FORMAT: &str = "patchwork.source-cache/2";

/// Files by name.
pub(super) type Known = BTreeMap<String, FileState>;

/// What a file was when it was hashed, written as an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, Digest)", into = "(u64, u64, Digest)")]
pub(super) struct FileState {
    pub(super) bytes: u64,
    pub(super) modified_ns: u64,
    pub(super) digest: Digest,
}

impl FileState {
    /// Hashes a file.
    pub(super) fn of(path: &Path) -> Result<Self, FileError> {
        // Looked at first: a file that changes meanwhile has another time afterwards, and is hashed again.
        let (bytes, modified_ns) = size_and_time(path)?;
        Ok(Self {
            bytes,
            modified_ns,
            digest: Digest::of_file(path)?,
        })
    }

    /// Whether the file at a path is still what it was, by its size and time.
    pub(super) fn is_of(&self, path: &Path) -> Result<bool, FileError> {
        Ok(size_and_time(path)? == (self.bytes, self.modified_ns))
    }
}

fn size_and_time(path: &Path) -> Result<(u64, u64), FileError> {
    let failed = |source| FileError::new("read", path, source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let modified = metadata.modified().map_err(failed)?;
    // A time before 1970 becomes 0: then only the size tells a change, as for any unset time.
    let modified_ns = modified
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos() as u64;
    Ok((metadata.len(), modified_ns))
}

impl From<(u64, u64, Digest)> for FileState {
    fn from((bytes, modified_ns, digest): (u64, u64, Digest)) -> Self {
        Self {
            bytes,
            modified_ns,
            digest,
        }
    }
}

impl From<FileState> for (u64, u64, Digest) {
    fn from(state: FileState) -> Self {
        (state.bytes, state.modified_ns, state.digest)
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: String,
    /// For people: the file's own name is a digest.
    source: String,
    files: Known,
}

/// The cache file of one source, whether or not it is there.
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
