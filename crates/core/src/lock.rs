//! Locks between processes, released by the kernel when their holder ends, however it ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::file_error::{FileError, check_regular, flags};

/// A lock on a file, held until it is dropped or its process ends.
///
/// The file itself is left in place: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock.
    pub fn acquire(path: &Path) -> Result<Self, FileError> {
        let file = open(path)?;
        file.lock()
            .map_err(|source| FileError::new("lock", path, source))?;
        Ok(Self { _file: file })
    }

    /// Waits for a share of the lock, which excludes those alone who take it for themselves.
    pub fn acquire_shared(path: &Path) -> Result<Self, FileError> {
        let file = open(path)?;
        file.lock_shared()
            .map_err(|source| FileError::new("lock", path, source))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock if nobody holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, FileError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(FileError::new("lock", path, source)),
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    // A link could lead anywhere, and a pipe would keep us waiting.
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)
        .map_err(|source| FileError::new("open", path, source))?;
    let regular = file
        .metadata()
        .and_then(|metadata| check_regular(&metadata));
    regular.map_err(|source| FileError::new("lock", path, source))?;
    Ok(file)
}
