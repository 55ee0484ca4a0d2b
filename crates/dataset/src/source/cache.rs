//! The digest of a folder's content, remembered so that a large source is hashed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use patchwork_core::file_error::{self, FileError};
use patchwork_core::lock::FileLock;
use patchwork_core::{Digest, durable};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::listing::digest_listing;
use crate::error::DatasetError;

const FORMAT: &str = "patchwork.source-cache/1";

/// Where digests of source files are remembered, by path, size and modification time.
#[derive(Clone, Debug, Default)]
pub struct SourceCache {
    /// The cache file; with `None` every file is hashed each time.
    pub path: Option<PathBuf>,
    /// Hash every file again, whatever the cache says.
    pub rehash: bool,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    format: String,
    /// By source folder, then by key.
    sources: BTreeMap<String, BTreeMap<String, FileState>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct FileState {
    bytes: u64,
    modified_ns: u64,
    digest: Digest,
}

impl SourceCache {
    /// The digest over (key, size, content digest) of the files, in the order given.
    pub(super) fn digest(
        &self,
        folder: &Path,
        files: &[(&str, &Path)],
    ) -> Result<Digest, DatasetError> {
        let root = folder
            .canonicalize()
            .map_err(|cause| FileError::new("open", folder, cause))?;
        let root = root.to_string_lossy().into_owned();
        let lock = match &self.path {
            Some(path) => Some(FileLock::acquire(&path.with_extension("lock"))?),
            None => None,
        };
        let mut remembered = self.load();
        let known = remembered.sources.remove(&root).unwrap_or_default();
        let states = files
            .par_iter()
            .map(|(key, path)| {
                let known = known.get(*key).filter(|_| !self.rehash);
                Ok(((*key).to_owned(), state(path, known)?))
            })
            .collect::<Result<Vec<(String, FileState)>, FileError>>()?;

        let listing = states
            .iter()
            .map(|(key, state)| (key.as_str(), state.bytes, state.digest));
        let digest = digest_listing(listing);
        if let Some(path) = &self.path {
            remembered
                .sources
                .insert(root, states.into_iter().collect());
            durable::write_json(path, &remembered)?;
        }
        drop(lock);
        Ok(digest)
    }

    /// A cache that is missing or damaged is an empty one: it is made again from the files.
    fn load(&self) -> Remembered {
        self.path
            .as_deref()
            .and_then(|path| file_error::read_json::<Remembered>(path).ok())
            .filter(|remembered| remembered.format == FORMAT)
            .unwrap_or_else(|| Remembered {
                format: FORMAT.to_owned(),
                sources: BTreeMap::new(),
            })
    }
}

fn state(path: &Path, known: Option<&FileState>) -> Result<FileState, FileError> {
    let failed = |source| FileError::new("read", path, source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let modified = metadata.modified().map_err(failed)?;
    // A time before 1970 becomes 0: then only the size tells a change, as for any unset time.
    let modified_ns = modified
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos() as u64;
    let bytes = metadata.len();
    match known {
        Some(known) if known.bytes == bytes && known.modified_ns == modified_ns => Ok(*known),
        _ => Ok(FileState {
            bytes,
            modified_ns,
            digest: Digest::of_file(path)?,
        }),
    }
}
