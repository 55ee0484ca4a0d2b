//! A folder of image files, read recursively.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use patchwork_core::durable;
use patchwork_core::file_error::{self, FileError};
use rayon::prelude::*;
use rustix::io::Errno;

use super::account::PassedOver;
use super::listing::{HEAD_BYTES, Listing};
use super::names::is_image_name;
use super::store::{DATASET_JSON, Json, ReadFailure, ReadFiles, Store, check_size, sort_out};
use crate::error::DatasetError;

pub(super) struct FolderStore {
    folder: PathBuf,
    files: Listing<()>,
    dataset_json: Option<Json>,
    json_path: Option<PathBuf>,
}

impl FolderStore {
    /// Lists a folder, but for what lies below the folders `without`.
    pub(super) fn open(folder: &Path, without: &[PathBuf]) -> Result<Self, DatasetError> {
        let mut found = Found {
            root: folder,
            without,
            above: Vec::new(),
            files: Listing::default(),
            json: Vec::new(),
        };
        found.collect(folder)?;
        let json_path = found.json();
        let dataset_json = match &json_path {
            None => None,
            Some(path) => Some(Json {
                content: file_error::read(path)?,
                folder: String::from_utf8_lossy(key(folder, path))
                    .strip_suffix(DATASET_JSON)
                    .unwrap_or_default()
                    .to_owned(),
            }),
        };
        Ok(Self {
            folder: folder.to_owned(),
            files: found.files.sorted(),
            dataset_json,
            json_path,
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

    fn dataset_json(&self) -> Option<&Json> {
        self.dataset_json.as_ref()
    }

    fn passed_over(&self) -> &PassedOver {
        self.files.passed_over()
    }

    // The digest of a folder covers each file that is listed.
    fn reads_more(&self) -> bool {
        false
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        let images = (0..self.files.len())
            .filter(|file| self.files.refused(*file).is_none())
            .map(|file| {
                let name = self.files.name(file);
                (name.to_owned(), self.folder.join(name))
            });
        // What one further down says is covered as the labels that it gives.
        let json = (self.json_path.iter())
            .filter(|path| **path == self.folder.join(DATASET_JSON))
            .map(|path| (DATASET_JSON.to_owned(), path.clone()));
        images.chain(json).collect()
    }
}

/// What was found below a folder so far.
struct Found<'a> {
    root: &'a Path,
    without: &'a [PathBuf],
    /// The folders above the one that is listed, without links.
    above: Vec<PathBuf>,
    files: Listing<()>,
    /// Each `dataset.json` at the top or one folder down.
    json: Vec<PathBuf>,
}

impl Found<'_> {
    /// Lists the image files in a folder and below it. Links are followed; one that leads back up is listed and refused.
    fn collect(&mut self, folder: &Path) -> Result<(), DatasetError> {
        let place = folder
            .canonicalize()
            .map_err(|source| FileError::new("open", folder, source))?;
        if self.above.contains(&place) {
            let cause = "it is a link to a folder that contains it";
            self.files.push_refused(key(self.root, folder), (), cause);
            return Ok(());
        }
        if self.without.contains(&place) {
            self.files.pass_over(OWN_OUTPUT);
            return Ok(());
        }
        let listed = durable::list(folder)?;
        if !self.above.is_empty() && is_artifact(&listed) {
            self.files.pass_over(OWN_OUTPUT);
            return Ok(());
        }
        self.above.push(place);
        for path in listed {
            self.add(&path)?;
        }
        self.above.pop();
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<(), DatasetError> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let key = key(self.root, path);
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if leads_nowhere(&error) => {
                if is_image_name(name) {
                    let cause = "it is a link that leads nowhere";
                    self.files.push_refused(key, (), cause);
                } else {
                    self.files.pass_over("links that lead nowhere");
                }
                return Ok(());
            }
            Err(error) => return Err(FileError::new("read", path, error).into()),
        };
        if metadata.is_dir() {
            if name.starts_with(b".") || name == b"__MACOSX" {
                // Its content is not listed; it counts as one.
                self.files.pass_over("hidden folders");
                return Ok(());
            }
            return self.collect(path);
        }
        if !metadata.is_file() {
            if is_image_name(name) {
                self.files.push_refused(key, (), "it is not a regular file");
            } else {
                self.files.pass_over(special(&metadata));
            }
            return Ok(());
        }
        if name == DATASET_JSON.as_bytes() && self.above.len() <= 2 {
            self.json.push(path.to_owned());
        }
        self.files.offer(key, (), || Ok(head(path)))
    }

    /// `dataset.json` at the top, or the only one in a folder at the top.
    fn json(&self) -> Option<PathBuf> {
        let top = self.root.join(DATASET_JSON);
        match &self.json[..] {
            paths if paths.contains(&top) => Some(top),
            [only] => Some(only.clone()),
            _ => None,
        }
    }
}

/// Folders that this program has written, such as a data set with its pictures.
const OWN_OUTPUT: &str = "folders of this program's own output";

/// Whether a folder's content is an artifact, by the first bytes of its manifest.
fn is_artifact(listed: &[PathBuf]) -> bool {
    let manifest = listed.iter().find(|path| path.ends_with("manifest.json"));
    manifest.is_some_and(|path| {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut head));
        read.is_ok() && String::from_utf8_lossy(&head).contains("\"patchwork.artifact/")
    })
}

/// A file's first bytes; none if it cannot be read, which is reported of images and matters of no others.
fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let read =
        File::open(path).and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
    match read {
        Ok(_) => head,
        Err(_) => Vec::new(),
    }
}

fn special(metadata: &std::fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        "pipes"
    } else if kind.is_socket() {
        "sockets"
    } else {
        "devices"
    }
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
