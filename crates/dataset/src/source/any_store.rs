//! The folder, zip or tar archive at a path.

use std::path::{Path, PathBuf};

use super::folder::FolderStore;
use super::store::Store;
use super::tar::TarStore;
use super::tar_compression::Compression;
use super::zip::{ZipStore, is_zip};
use crate::error::DatasetError;

/// Lists the files of a folder or an archive, but for what lies below the folders `without`.
pub(super) fn open_store(path: &Path, without: &[PathBuf]) -> Result<Box<dyn Store>, DatasetError> {
    if path.is_dir() {
        return Ok(Box::new(FolderStore::open(path, without)?));
    }
    if is_zip(path)? {
        return Ok(Box::new(ZipStore::open(path)?));
    }
    match Compression::of_tar(path)? {
        Some(compression) => Ok(Box::new(TarStore::open(path, compression)?)),
        None => Err(unknown_kind(path)),
    }
}

pub(super) fn unknown_kind(path: &Path) -> DatasetError {
    DatasetError::NoSuchSource {
        source_name: path.display().to_string(),
        problem: "the file is not a zip archive, tar archive (plain, gzip, zstd) or Parquet file\n\
                  hint: a download that ended early or a page instead of a file looks like this; archives of other \
                  kinds have to be unpacked, and their folder named"
            .to_owned(),
    }
}
