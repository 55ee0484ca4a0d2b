//! The raw data that a prepare stage reads.

use std::path::Path;

use patchwork_config::{EmojiSettings, Format, Labels, PrepareSettings, SkinTones, Split};
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
        format: settings.format.map(|format| match format {
            Format::Images => source::Format::Images,
            Format::CelebA => source::Format::CelebA,
            Format::AfhqV2 => source::Format::AfhqV2,
            Format::Flowers102 => source::Format::Flowers102,
            Format::Lmdb => source::Format::Lmdb,
            Format::Cifar10 => source::Format::Cifar10,
            Format::Cifar100 => source::Format::Cifar100,
            Format::Mnist => source::Format::Mnist,
            Format::Parquet => source::Format::Parquet,
        }),
        split: settings.split.map(|split| match split {
            Split::All => source::Split::All,
            Split::Train => source::Split::Train,
            Split::Validation => source::Split::Validation,
            Split::Test => source::Split::Test,
        }),
        labels: match settings.labels {
            Labels::None => source::Labels::None,
            Labels::Folder => source::Labels::Folder,
            Labels::Source => source::Labels::Source,
            Labels::Attributes => source::Labels::Attributes,
            Labels::Group => source::Labels::Group,
            Labels::SkinTone => source::Labels::SkinTone,
        },
        attributes: settings.attributes.clone(),
        classes: settings.classes.clone(),
        emoji: settings
            .emoji
            .as_ref()
            .map(emoji_filter)
            .unwrap_or_default(),
    }
}

fn emoji_filter(settings: &EmojiSettings) -> EmojiFilter {
    EmojiFilter {
        groups: Some(
            settings
                .groups
                .iter()
                .map(|group| group.name().to_owned())
                .collect(),
        ),
        all_skin_tones: settings.skin_tones == SkinTones::All,
        from: settings.from.clone(),
        to: settings.to.clone(),
    }
}
