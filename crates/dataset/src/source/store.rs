//! What folders and archives have in common: files that are listed by name and read by number.

use std::borrow::Cow;

use patchwork_core::Digest;

use super::raw::Rejection;
use crate::decode::MAX_FILE_BYTES;

/// The image files of a folder or an archive, and its few other files that tell about them.
pub(super) trait Store: Send + Sync {
    /// How many image files there are.
    fn len(&self) -> usize;

    /// A file's path, with `/` between its parts.
    fn name(&self, file: usize) -> &str;

    /// A file's size in bytes, as far as it is known without reading it.
    fn bytes(&self, file: usize) -> u64;

    /// Reads files, given in ascending order.
    fn read(&self, files: &[usize]) -> Vec<Result<Cow<'_, [u8]>, Rejection>>;

    /// A class that the store itself knows of a file.
    fn label(&self, _file: usize) -> Option<u32> {
        None
    }

    /// The names of the classes that the store knows.
    fn class_names(&self) -> Option<Vec<String>> {
        None
    }

    /// `dataset.json`, where there is one at the top.
    fn dataset_json(&self) -> Option<&[u8]> {
        None
    }

    /// The digest of the content.
    fn digest(&self) -> Digest;
}

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

/// Why a file could not be read.
pub(super) fn unreadable(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(format!("not readable: {error}"))
}
