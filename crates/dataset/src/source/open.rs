//! From what a pipeline file names to a source.

use std::path::Path;

use super::cache::SourceCache;
use super::folder::FolderSource;
use super::raw::Source;
use super::twemoji::{EmojiFilter, TwemojiSource};
use crate::error::DatasetError;

const BUILTIN: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

/// What gives an image its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// Images have no class.
    #[default]
    None,
    /// The first folder of the path.
    Folder,
    /// The Unicode group of an emoji.
    Group,
    /// The skin tone of an emoji; `default` for those that have none.
    SkinTone,
}

impl Labels {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::None, Self::Folder, Self::Group, Self::SkinTone];

    /// The name in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Folder => "folder",
            Self::Group => "group",
            Self::SkinTone => "skin-tone",
        }
    }

    /// The choice of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|labels| labels.name() == name)
    }
}

/// Which images to take, and what their classes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// `builtin:twemoji`, or the path of a folder of PNG files.
    pub source: String,
    /// What gives an image its class.
    pub labels: Labels,
    /// Which emoji to take; of no meaning for a folder.
    pub emoji: EmojiFilter,
}

/// Opens a source: lists its images and digests its content, without decoding anything.
pub fn open(
    settings: &SourceSettings,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    let refused = |problem: &str| DatasetError::Setting {
        setting: "labels",
        value: format!("\"{}\"", settings.labels.name()),
        problem: format!("{problem} of the source `{}`", settings.source),
    };
    let no_such_source = |problem: &str| DatasetError::NoSuchSource {
        source_name: settings.source.clone(),
        problem: problem.to_owned(),
    };
    if settings.source == TWEMOJI {
        if settings.labels == Labels::Folder {
            return Err(refused("`group`, `skin-tone` and `none` are the labels"));
        }
        return Ok(Box::new(TwemojiSource::open(
            settings.labels,
            &settings.emoji,
        )?));
    }
    if settings.source.starts_with(BUILTIN) {
        return Err(no_such_source(&format!(
            "the one that ships with the build is `{TWEMOJI}`"
        )));
    }
    if matches!(settings.labels, Labels::Group | Labels::SkinTone) {
        return Err(refused("`folder` and `none` are the labels"));
    }
    let path = Path::new(&settings.source);
    if path.is_file() {
        return Err(no_such_source(
            "it is a file; sources are folders of PNG files and `builtin:twemoji`\n\
             hint: unpack an archive and name its folder",
        ));
    }
    if !path.is_dir() {
        return Err(no_such_source(
            "nothing is at that path\n\
             hint: put the images there, or set `source` to their folder or to \"builtin:twemoji\"",
        ));
    }
    Ok(Box::new(FolderSource::open(path, settings.labels, cache)?))
}
