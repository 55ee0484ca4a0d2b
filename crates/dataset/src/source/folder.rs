//! A folder of image files, read recursively.
//!
//! Files whose name begins with a dot and files without an image's ending are not images.

use std::borrow::Cow;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_core::durable;
use patchwork_core::file_error::{self, FileError};
use rayon::prelude::*;
use rustix::io::Errno;

use super::cache::SourceCache;
use super::listing::{Listing, is_image_name};
use super::store::{DATASET_JSON, ReadFailure, ReadFiles, Store, check_size, sort_out};
use crate::error::DatasetError;

pub(super) struct FolderStore {
    folder: PathBuf,
    files: Listing<()>,
    dataset_json: Option<Vec<u8>>,
    digest: Digest,
}

impl FolderStore {
    /// Lists a folder and digests its files; `within` keeps those whose path it accepts.
    pub(super) fn open(
        folder: &Path,
        within: &dyn Fn(&str) -> bool,
        cache: &SourceCache,
    ) -> Result<Self, DatasetError> {
        let mut found = Listing::default();
        collect(folder, folder, &mut Vec::new(), within, &mut found)?;
        let files = found.sorted();
        let json = folder.join(DATASET_JSON);
        let dataset_json = if json.is_file() {
            Some(file_error::read(&json)?)
        } else {
            None
        };
        let paths: Vec<PathBuf> = (0..files.len())
            .map(|file| folder.join(files.name(file)))
            .collect();
        let mut listed: Vec<(&str, &Path)> = (0..files.len())
            .filter(|file| files.refused(*file).is_none())
            .map(|file| (files.name(file), paths[file].as_path()))
            .collect();
        if dataset_json.is_some() {
            listed.push((DATASET_JSON, &json));
        }
        let digest = cache.digest(folder, &listed)?;
        Ok(Self {
            folder: folder.to_owned(),
            files,
            dataset_json,
            digest,
        })
    }

    fn read_file(&self, file: usize) -> Result<Cow<'_, [u8]>, ReadFailure> {
        if let Some(refused) = self.files.refused(file) {
            return Err(refused.clone().into());
        }
        let path = self.folder.join(self.files.name(file));
        let failed = |error| ReadFailure::of_reader(&path, error);
        check_size(std::fs::metadata(&path).map_err(failed)?.len())?;
        Ok(Cow::Owned(std::fs::read(&path).map_err(failed)?))
    }
}

impl Store for FolderStore {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, file: usize) -> &str {
        self.files.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        let path = self.folder.join(self.files.name(file));
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let read = files.par_iter().map(|file| self.read_file(*file));
        read.map(sort_out).collect()
    }

    fn dataset_json(&self) -> Option<&[u8]> {
        self.dataset_json.as_deref()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// Lists the image files in a folder and below it. Links are followed; one that leads back up is listed and refused.
fn collect(
    root: &Path,
    folder: &Path,
    above: &mut Vec<PathBuf>,
    within: &dyn Fn(&str) -> bool,
    found: &mut Listing<()>,
) -> Result<(), DatasetError> {
    let place = folder
        .canonicalize()
        .map_err(|source| FileError::new("open", folder, source))?;
    if above.contains(&place) {
        let cause = "it is a link to a folder that contains it";
        found.push_refused(key(root, folder), (), cause);
        return Ok(());
    }
    above.push(place);
    for path in durable::list(folder)? {
        let name = path.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(b".") {
            continue;
        }
        let key = key(root, &path);
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if leads_nowhere(&error) => {
                if is_image_name(name) {
                    found.push_refused(key, (), "it is a link that leads nowhere");
                }
                continue;
            }
            Err(error) => return Err(FileError::new("read", &path, error).into()),
        };
        if metadata.is_dir() {
            collect(root, &path, above, within, found)?;
        } else if is_image_name(name) && std::str::from_utf8(key).map_or(true, within) {
            if metadata.is_file() {
                found.push(key, ());
            } else {
                found.push_refused(key, (), "it is not a regular file");
            }
        }
    }
    above.pop();
    Ok(())
}

/// Whether the error is a link's, rather than the disk's.
fn leads_nowhere(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
}

/// The path below the root.
fn key<'a>(root: &Path, path: &'a Path) -> &'a [u8] {
    path.strip_prefix(root)
        .unwrap_or(path)
        .as_os_str()
        .as_bytes()
}
