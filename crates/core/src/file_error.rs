//! An input/output error that says which file, and reading files with such errors.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rustix::fs::OFlags;
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

    /// Whether the file could be read and its content is wrong, or it is not a regular file.
    pub fn is_damage(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::NotADirectory
        )
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a whole regular file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_all(path, "read", Read::read_to_end)
}

/// Reads a whole regular file of UTF-8.
pub fn read_to_string(path: &Path) -> Result<String, FileError> {
    read_all(path, "read", Read::read_to_string)
}

fn read_all<T: Default>(
    path: &Path,
    action: &'static str,
    read: impl FnOnce(&mut File, &mut T) -> io::Result<usize>,
) -> Result<T, FileError> {
    let failed = |source| FileError::new(action, path, source);
    let mut content = T::default();
    let mut file = open_regular(path).map_err(failed)?;
    read(&mut file, &mut content).map_err(failed)?;
    Ok(content)
}

/// Opens a regular file for reading.
///
/// # Errors
/// Anything else at `path`, too: a folder; a pipe, which would keep the reader waiting; a device, which may have no end.
pub fn open(path: &Path) -> Result<File, FileError> {
    open_regular(path).map_err(|source| FileError::new("open", path, source))
}

fn open_regular(path: &Path) -> io::Result<File> {
    // With this flag the opening of a pipe does not wait for a writer; a regular file is read as without it.
    let file = File::options()
        .read(true)
        .custom_flags(flags(OFlags::NONBLOCK))
        .open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

/// Whether it is a regular file; else what it is.
pub(crate) fn check_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let problem = format!("it is {what}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

/// Flags of the system's `open` for `custom_flags`.
pub(crate) fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("the flags of `open` fit its argument")
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
