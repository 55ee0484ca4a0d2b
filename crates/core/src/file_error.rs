//! An input/output error that says which file, and reading files with such errors.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::de::DeserializeOwned;

/// What was attempted on which path, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}", path.display())]
pub struct FileError {
    /// What was attempted, as a verb phrase: "read", "rename to".
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// An error from its parts.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::new("read", path, source))
}

/// Reads a whole UTF-8 file.
pub fn read_to_string(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::new("read", path, source))
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|source| FileError::new("open", path, source))
}

/// Maps a file for reading, without a copy.
pub fn map(path: &Path, file: &File) -> Result<Mmap, FileError> {
    #[expect(
        unsafe_code,
        reason = "files are written once, renamed into place and never changed while they are in use, so that the \
                  mapped bytes do not change under the slices that are lent out"
    )]
    let map = unsafe { Mmap::map(file) };
    map.map_err(|source| FileError::new("map", path, source))
}

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|cause| {
        FileError::new(
            "read",
            path,
            io::Error::new(io::ErrorKind::InvalidData, cause),
        )
    })
}
