//! What can be seen of a path without listing it: names and first bytes, by which formats are recognised.

use std::path::Path;

use super::names::is_image_name;
use super::settings::SourceSettings;
use super::store::Store;
use super::tar_compression::Compression;
use super::tar_walk::walk;
use super::zip;
use crate::error::DatasetError;

/// Names of an archive that are read before it is listed.
const FIRST_NAMES: usize = 64;

/// What can be seen of a path without listing it.
pub(super) struct Look<'a> {
    pub(super) path: &'a Path,
    pub(super) kind: PathKind,
    pub(super) settings: &'a SourceSettings,
}

/// What a path is.
pub(super) enum PathKind {
    Folder,
    Zip,
    /// A tar archive, with the names of its first files.
    Tar(Vec<String>),
    /// Another file.
    File,
}

impl<'a> Look<'a> {
    pub(super) fn at(path: &'a Path, settings: &'a SourceSettings) -> Result<Self, DatasetError> {
        let kind = if path.is_dir() {
            PathKind::Folder
        } else if zip::is_zip(path)? {
            PathKind::Zip
        } else if let Some(compression) = Compression::of_tar(path)? {
            PathKind::Tar(first_names(path, compression)?)
        } else {
            PathKind::File
        };
        Ok(Self {
            path,
            kind,
            settings,
        })
    }

    /// Whether it is a folder in which something of that name lies.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self.kind, PathKind::Folder) && self.path.join(name).exists()
    }
}

/// The names of the first files of a tar archive.
pub(super) fn first_names(
    path: &Path,
    compression: Compression,
) -> Result<Vec<String>, DatasetError> {
    let mut names: Vec<String> = Vec::new();
    // The walk is ended by an error of its own when enough names are known.
    let walked = walk(path, compression, &mut |member, _| {
        names.push(String::from_utf8_lossy(member.name).into_owned());
        match names.len() {
            FIRST_NAMES => Err(DatasetError::Interrupted),
            _ => Ok(()),
        }
    });
    match walked {
        Ok(()) | Err(DatasetError::Interrupted) => Ok(names),
        Err(error) => Err(error),
    }
}

/// Whether there are images, and the names of the first ones are all of a kind.
pub(super) fn first_images_are(store: &dyn Store, is_of_kind: impl Fn(&str) -> bool) -> bool {
    let images = || {
        (0..store.len())
            .map(|file| store.name(file))
            .filter(|name| is_image_name(name.as_bytes()))
            .take(FIRST_NAMES)
    };
    images().next().is_some() && images().all(is_of_kind)
}
