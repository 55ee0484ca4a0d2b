//! What folders and archives have in common: files that are listed by name and read by number.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use patchwork_core::file_error::{self, FileError};

use super::account::PassedOver;
use super::raw::Rejection;
use crate::decode::MAX_FILE_BYTES;
use crate::error::DatasetError;

/// What became of reading some files, in their order: each file's bytes, or why it is left out.
///
/// # Errors
/// If the disk or the connection to it failed, which says nothing about the files: they are to be read another time.
pub(super) type ReadFiles<'a> = Result<Vec<Result<Cow<'a, [u8]>, Rejection>>, DatasetError>;

/// The image files of a folder or an archive, and its few other files with metadata about them.
pub(super) trait Store: Send + Sync {
    /// How many image files there are.
    fn len(&self) -> usize;

    /// A file's path, with `/` between its parts.
    fn name(&self, file: usize) -> &str;

    /// A file's size in bytes, as far as it is known without reading it.
    fn bytes(&self, file: usize) -> u64;

    /// Reads files, given in ascending order.
    fn read(&self, files: &[usize]) -> ReadFiles<'_>;

    /// The classes that the store itself knows.
    fn labels(&self) -> Result<Option<StoreLabels>, String> {
        Ok(None)
    }

    /// `dataset.json`, where there is one at the top or in the only folder there.
    fn dataset_json(&self) -> Option<&Json> {
        None
    }

    /// What lies there and is none of the image files.
    fn passed_over(&self) -> &PassedOver;

    /// Whether an earlier version of this program would have listed other files or names than it finds here, though the
    /// bytes that are digested are the same.
    fn reads_more(&self) -> bool;

    /// What a person should know of it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What its digest covers: names and files.
    fn hashed(&self) -> Vec<(String, PathBuf)>;
}

/// A class a file (-1 for none) and the classes' names.
pub(super) struct StoreLabels {
    pub(super) labels: Vec<i32>,
    pub(super) class_names: Vec<String>,
    /// What of the source they come from.
    pub(super) by: String,
    /// Whether an earlier version would have given the same.
    pub(super) reads_more: bool,
}

/// The file of labels that EDM's and StyleGAN's tools write.
pub(super) struct Json {
    pub(super) content: Vec<u8>,
    /// The folder that it lies in, to which its names are relative: empty, or ending in `/`.
    pub(super) folder: String,
}

/// The maximum number of classes; a larger number is not a class but something else, such as an identity or a date.
pub(super) const MOST_CLASSES: i64 = 1 << 20;

/// The largest `dataset.json` that is read: several million images.
pub(super) const MAX_JSON_BYTES: u64 = 512 << 20;

/// The name of the file that lists labels, as EDM's and StyleGAN's tools write it.
pub(super) const DATASET_JSON: &str = "dataset.json";

/// Refuses a file that is too large for any image, before its bytes are asked for.
pub(super) fn check_size(bytes: u64) -> Result<(), Rejection> {
    if bytes > MAX_FILE_BYTES {
        return Err(Rejection::new(format!(
            "a file of {bytes} bytes is too large for an image"
        )));
    }
    Ok(())
}

/// Why a file has not been read.
pub(super) enum ReadFailure {
    /// Of what it holds, now and at any other time.
    Rejected(Rejection),
    /// Of the disk or the connection to it.
    Failed(DatasetError),
}

impl ReadFailure {
    /// The failure behind an error of a reader or decoder over the file at `path`.
    pub(super) fn of_reader(path: &Path, error: io::Error) -> Self {
        if is_of_system(&error) {
            Self::Failed(FileError::new("read", path, error).into())
        } else {
            Self::Rejected(unreadable(error))
        }
    }
}

impl From<Rejection> for ReadFailure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// A file's bytes or why it is left out, apart from a failure that says nothing about it.
pub(super) fn sort_out(
    read: Result<Cow<'_, [u8]>, ReadFailure>,
) -> Result<Result<Cow<'_, [u8]>, Rejection>, DatasetError> {
    match read {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(ReadFailure::Rejected(rejection)) => Ok(Err(rejection)),
        Err(ReadFailure::Failed(error)) => Err(error),
    }
}

/// Whether it is a file, or a link to one.
///
/// # Errors
/// One that cannot be looked at, as behind a link to a disk that is gone: without it, a data set would be another one.
pub(super) fn is_file(path: &Path) -> Result<bool, FileError> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| FileError::new("read", path, source))?;
    Ok(metadata.is_file())
}

/// Whether a file begins so.
pub(super) fn starts_with(path: &Path, mark: &[u8]) -> Result<bool, DatasetError> {
    let file = file_error::open(path)?;
    let mut head = vec![0; mark.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head == mark),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(FileError::new("read", path, error).into()),
    }
}

/// Whether an error of reading is the system's: decoders and checks of sums have errors of their own, and hand on those of
/// the system as they are.
pub(super) fn is_of_system(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

/// Why an archive of this kind cannot be listed.
pub(super) fn not_listed(path: &Path, kind: &str, error: io::Error) -> DatasetError {
    if is_of_system(&error) {
        return FileError::new("read", path, error).into();
    }
    DatasetError::Archive {
        path: path.to_owned(),
        problem: format!("it is not a complete {kind} archive: {error}"),
    }
}

/// Why a file cannot be read, whenever one tries.
pub(super) fn unreadable(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(format!("not readable: {error}"))
}
