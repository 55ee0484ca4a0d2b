//! From what a pipeline file names to a source.

use std::path::{Path, PathBuf};

use patchwork_core::FileError;

use super::any_store::open_store;
use super::cache::SourceCache;
use super::format::{Content, Request, SourceFormat};
use super::formats::{detect, of, recognise};
use super::raw::Source;
use super::settings::{Labels, SourceSettings};
use super::twemoji::TwemojiSource;
use super::{assemble, rules};
use crate::error::DatasetError;

const BUILTIN: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

/// Opens a source: lists its images and digests its content, without decoding anything.
pub fn open(
    settings: &SourceSettings,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    if settings.source == TWEMOJI {
        if !matches!(
            settings.labels,
            Labels::None | Labels::Group | Labels::SkinTone
        ) {
            let problem = "`group`, `skin-tone` and `none` are the labels of";
            return Err(rules::wrong_labels(settings, problem));
        }
        let source = TwemojiSource::open(settings.labels, &settings.emoji)?;
        return Ok(Box::new(source));
    }
    let path = existing(settings)?;
    let known = match settings.format {
        Some(format) => Some(of(format)),
        None => detect(path, settings)?,
    };
    if let Some(format) = known {
        rules::check(settings, format)?;
        let request = request(settings, cache, format, place(path, format));
        let content = format.open(&request)?;
        return assemble::source(format, &request, content);
    }
    let store = open_store(path, &settings.without)?;
    let format = recognise(path, &*store);
    rules::check(settings, format)?;
    let request = request(settings, cache, format, path);
    assemble::source(format, &request, Content::Files(store))
}

/// The path of the settings, which is that of a folder or a file.
fn existing(settings: &SourceSettings) -> Result<&Path, DatasetError> {
    let refused = |problem: String| DatasetError::NoSuchSource {
        source_name: settings.source.clone(),
        problem,
    };
    if settings.source.starts_with(BUILTIN) {
        let problem = format!("the one that ships with the build is `{TWEMOJI}`");
        return Err(refused(problem));
    }
    let path = Path::new(&settings.source);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() || metadata.is_file() => Ok(path),
        Ok(_) => Err(refused(
            "it is a pipe or a device; name a folder or a regular file".to_owned(),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DatasetError::MissingSource {
                path: path.to_owned(),
            })
        }
        Err(error) => Err(FileError::new("read", path, error).into()),
    }
}

fn request<'a>(
    settings: &'a SourceSettings,
    cache: &'a SourceCache,
    format: &dyn SourceFormat,
    place: impl Into<PathBuf>,
) -> Request<'a> {
    Request {
        settings,
        cache,
        place: place.into(),
        split: settings.split.unwrap_or(format.usual_split()),
    }
}

/// Where the images of a distribution lie when the folder of its files is named.
fn place(path: &Path, format: &dyn SourceFormat) -> PathBuf {
    (format.places().iter())
        .map(|name| path.join(name))
        .find(|place| place.exists())
        .unwrap_or_else(|| path.to_owned())
}
