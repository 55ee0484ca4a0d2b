//! The raw data that a prepare stage reads.

use std::path::{Path, PathBuf};

use patchwork_core::{Digest, durable};
use patchwork_dataset::source::{self, EmojiFilter};
use patchwork_dataset::{DatasetError, Source, SourceCache, SourceSettings};
use serde_json::Value;

use super::{EmojiSettings, PrepareSettings};

/// Where this program keeps what it knows of sources, and what it writes, which is not part of any.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The folder in which digests of sources are remembered, by path, size, inode and times; none = nowhere.
    pub cache: Option<PathBuf>,
    /// Folders that are left out of a source that holds them.
    pub own: Vec<PathBuf>,
}

impl Places {
    /// Those of a home folder.
    pub fn of_home(home: &Path) -> Self {
        Self::of_cache(&home.join("cache"))
    }

    /// Those of the home folder that has this cache.
    ///
    /// The home of a stage on files is called after what it makes, `OUT.work`: `OUT` and `OUT.logs` lie beside it.
    pub(crate) fn of_cache(cache: &Path) -> Self {
        let home = cache.parent().unwrap_or(cache);
        let mut own = vec![home.to_owned()];
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        if let Some(out) = name.strip_suffix(".work") {
            own.push(home.with_file_name(out));
            own.push(home.with_file_name(format!("{out}.logs")));
        }
        Self {
            cache: Some(cache.to_owned()),
            // What is not there yet is in nobody's way.
            own: own
                .iter()
                .filter_map(|path| path.canonicalize().ok())
                .collect(),
        }
    }
}

/// Opens the source of a prepare stage; with `rehash` its digests are computed again.
pub fn open_source(
    settings: &PrepareSettings,
    places: &Places,
    rehash: bool,
) -> Result<Box<dyn Source>, DatasetError> {
    // An earlier version remembered all sources in one file, of some hundred megabytes where they were large.
    let cache = match &places.cache {
        None => None,
        Some(cache) => {
            let former = cache.join("sources.json");
            if former.exists() {
                durable::remove_file(&former)?;
                durable::remove_file(&former.with_extension("lock"))?;
            }
            Some(cache.join("sources"))
        }
    };
    let cache = SourceCache {
        folder: cache,
        rehash,
    };
    let sampled = settings.sampled_images;
    let settings = SourceSettings {
        without: places.own.clone(),
        ..source_settings(settings)
    };
    let source = source::open(&settings, &cache)?;
    Ok(match sampled {
        0 => source,
        sampled => source::subset(source, sampled as usize),
    })
}

/// The digest of a source's content.
pub(crate) fn source_digest(
    settings: &PrepareSettings,
    cache: &Path,
    rehash: bool,
) -> Result<Digest, DatasetError> {
    Ok(open_source(settings, &Places::of_cache(cache), rehash)?.digest())
}

/// The settings that say what is read of a source, besides its path.
pub(crate) fn read_as(settings: &PrepareSettings) -> Value {
    serde_json::to_value(source_settings(settings)).expect("settings are plain data")
}

/// Why a source is not there, and where it comes from; none if something is at its path.
pub(crate) fn missing(settings: &PrepareSettings) -> Option<String> {
    // One that cannot be read is not missing, and says why when it is opened.
    let is_missing = matches!(Path::new(&settings.source).try_exists(), Ok(false));
    if settings.emoji.is_some() || !is_missing {
        return None;
    }
    let hint = match &settings.obtain {
        Some(obtain) => obtain.trim(),
        None => "put the images there, or set `source` to where they are or to \"builtin:twemoji\"",
    };
    Some(format!(
        "source `{}` is missing: no file or folder has that path\nhint: {hint}",
        settings.source
    ))
}

fn source_settings(settings: &PrepareSettings) -> SourceSettings {
    SourceSettings {
        source: settings.source.clone(),
        format: settings.format,
        split: settings.split,
        labels: settings.labels,
        attributes: settings.attributes.clone(),
        classes: settings.classes.clone(),
        emoji: (settings.emoji.as_ref())
            .map(emoji_filter)
            .unwrap_or_default(),
        without: Vec::new(),
    }
}

fn emoji_filter(settings: &EmojiSettings) -> EmojiFilter {
    EmojiFilter {
        groups: settings.groups.clone(),
        skin_tones: settings.skin_tones,
        from: settings.from.clone(),
        to: settings.to.clone(),
    }
}
