//! A folder of PNG files, read recursively.
//!
//! Files whose name begins with a dot and files without an image's ending are not images. A file with the
//! ending of another image format stops the work, because leaving it out would make another data set.

use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_core::durable;
use patchwork_core::file_error::{self, FileError};

use super::cache::SourceCache;
use super::open::Labels;
use super::raw::{Entry, RawImage, Rejection, Source};
use crate::decode::{MAX_PIXELS, decode};
use crate::error::DatasetError;

/// The largest image file that is read, in bytes: no PNG within the pixel limit needs more.
const MAX_FILE_BYTES: u64 = MAX_PIXELS * 8 + (1 << 20);

pub(super) struct FolderSource {
    files: Vec<ImageFile>,
    class_names: Vec<String>,
    digest: Digest,
}

struct ImageFile {
    key: String,
    path: PathBuf,
    label: Option<u32>,
}

impl FolderSource {
    pub(super) fn open(
        folder: &Path,
        labels: Labels,
        cache: &SourceCache,
    ) -> Result<Self, DatasetError> {
        let mut paths = Vec::new();
        collect(folder, &mut Vec::new(), &mut paths)?;
        let mut files: Vec<ImageFile> = paths
            .into_iter()
            .map(|path| ImageFile {
                key: key(folder, &path),
                path,
                label: None,
            })
            .collect();
        if files.is_empty() {
            return Err(DatasetError::EmptySource {
                source_name: folder.display().to_string(),
                problem: "no file in it or below it ends in .png".to_owned(),
            });
        }
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let class_names = match labels {
            Labels::Folder => label_by_folder(&mut files, folder)?,
            _ => Vec::new(),
        };
        let named = files
            .iter()
            .map(|file| (file.key.as_str(), file.path.as_path()));
        let digest = cache.digest(folder, &named.collect::<Vec<_>>())?;
        Ok(Self {
            files,
            class_names,
            digest,
        })
    }
}

impl Source for FolderSource {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        let file = &self.files[index];
        Entry {
            key: &file.key,
            label: file.label,
        }
    }

    fn read(&self, index: usize) -> Result<RawImage, Rejection> {
        let path = &self.files[index].path;
        let unreadable =
            |error: &dyn std::fmt::Display| Rejection::new(format!("not readable: {error}"));
        let size = std::fs::metadata(path)
            .map_err(|error| unreadable(&error))?
            .len();
        if size > MAX_FILE_BYTES {
            return Err(Rejection::new(format!(
                "a file of {size} bytes is too large for an image"
            )));
        }
        let bytes = file_error::read(path).map_err(|error| unreadable(&error.source))?;
        decode(&bytes)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn credit(&self) -> Option<&str> {
        None
    }
}

/// Lists the PNG files in a folder and below it. Links are followed; one that leads back up is an error.
fn collect(
    folder: &Path,
    above: &mut Vec<PathBuf>,
    paths: &mut Vec<PathBuf>,
) -> Result<(), DatasetError> {
    let place = folder
        .canonicalize()
        .map_err(|source| FileError::new("open", folder, source))?;
    if above.contains(&place) {
        let source = std::io::Error::other("it is a link to a folder that contains it");
        return Err(FileError::new("read the folder", folder, source).into());
    }
    above.push(place);
    for path in durable::list(folder)? {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, above, paths)?;
            continue;
        }
        let ending = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        match ending.as_str() {
            "png" => paths.push(path),
            "jpg" | "jpeg" | "webp" | "bmp" | "gif" | "tif" | "tiff" | "ppm" | "avif" | "heic" => {
                return Err(DatasetError::UnsupportedFormat {
                    path,
                    found: ending.to_uppercase(),
                });
            }
            _ => {}
        }
    }
    above.pop();
    Ok(())
}

fn key(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Labels each file by the first folder of its key; returns the folders, sorted.
fn label_by_folder(files: &mut [ImageFile], folder: &Path) -> Result<Vec<String>, DatasetError> {
    let mut class_names: Vec<String> = Vec::new();
    for file in files.iter() {
        let Some((class, _)) = file.key.split_once('/') else {
            return Err(DatasetError::Setting {
                setting: "labels",
                value: "\"folder\"".to_owned(),
                problem: format!(
                    "`{}` lies in no class folder below `{}`",
                    file.path.display(),
                    folder.display()
                ),
            });
        };
        class_names.push(class.to_owned());
    }
    class_names.sort_unstable();
    class_names.dedup();
    for file in files {
        let class = file.key.split('/').next().unwrap_or_default();
        file.label = class_names
            .iter()
            .position(|name| name == class)
            .map(|label| label as u32);
    }
    Ok(class_names)
}
