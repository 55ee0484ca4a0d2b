//! The raw data that a prepare stage reads.

use std::path::Path;

use patchwork_config::{EmojiSettings, PrepareSettings};
use patchwork_core::{Digest, durable};
use patchwork_dataset::source::{self, EmojiFilter};
use patchwork_dataset::{DatasetError, Source, SourceCache, SourceSettings};
use serde_json::{Value, json};

/// Opens the source of a prepare stage.
///
/// `cache` is the folder in which digests of sources are remembered by path, size and modification time;
/// with `rehash` they are taken anew.
pub fn open_source(
    settings: &PrepareSettings,
    cache: &Path,
    rehash: bool,
) -> Result<Box<dyn Source>, DatasetError> {
    // An earlier version remembered all sources in one file, of some hundred megabytes where they were large.
    let former = cache.join("sources.json");
    if former.exists() {
        durable::remove_file(&former)?;
        durable::remove_file(&former.with_extension("lock"))?;
    }
    let cache = SourceCache {
        folder: Some(cache.join("sources")),
        rehash,
    };
    source::open(&source_settings(settings), &cache)
}

/// The digest of a source's content.
pub(crate) fn source_digest(
    settings: &PrepareSettings,
    cache: &Path,
    rehash: bool,
) -> Result<Digest, DatasetError> {
    Ok(open_source(settings, cache, rehash)?.digest())
}

/// The settings that say what is read of a source, besides its path.
pub(crate) fn read_as(settings: &PrepareSettings) -> Value {
    json!({
        "format": settings.format,
        "split": settings.split,
        "labels": settings.labels,
        "attributes": settings.attributes,
        "classes": settings.classes,
    })
}

/// Why a source is not there, and where it comes from; none if something is at its path.
pub(crate) fn missing(settings: &PrepareSettings) -> Option<String> {
    // One that cannot be looked at is not missing, and says why when it is opened.
    let is_missing = matches!(Path::new(&settings.source).try_exists(), Ok(false));
    if settings.emoji.is_some() || !is_missing {
        return None;
    }
    let hint = match &settings.obtain {
        Some(obtain) => obtain.trim(),
        None => "put the images there, or set `source` to where they are or to \"builtin:twemoji\"",
    };
    Some(format!(
        "there is no source `{}`: nothing is at that path\nhint: {hint}",
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
