//! Raw images to shards.

use std::ops::ControlFlow;
use std::path::Path;

use patchwork_config::{EmojiSettings, Labels, PrepareSettings, SkinTones, Transform};
use patchwork_core::Digest;
use patchwork_dataset::source::{self, EmojiFilter};
use patchwork_dataset::{DatasetError, SourceCache, SourceSettings};
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use serde_json::{Value, json};

use crate::device;
use crate::job::{execution, settings};

/// The digest of a source's content; of files, remembered in the cache folder by path, size and time.
pub(crate) fn source_digest(
    settings: &PrepareSettings,
    cache: &Path,
    rehash: bool,
) -> Result<Digest, DatasetError> {
    let cache = SourceCache {
        path: Some(cache.join("sources.json")),
        rehash,
    };
    Ok(source::open(&source_settings(settings), &cache)?.digest())
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: PrepareSettings = settings(job)?;
    let cache = SourceCache {
        path: Some(job.home.join("cache/sources.json")),
        rehash: false,
    };
    let source = source::open(&source_settings(&settings), &cache)?;
    let mut report = |progress: patchwork_dataset::Progress| {
        context.progress(Progress {
            done: progress.done,
            total: progress.total,
            resumed: 0,
            unit: "images".to_owned(),
            note: match progress.rejected {
                0 => String::new(),
                rejected => format!("{rejected} rejected"),
            },
        });
        if context.is_interrupted() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let summary = match patchwork_dataset::prepare(
        &dataset_settings(&settings),
        source.as_ref(),
        context.artifact(),
        device::threads(&execution(job)?),
        &mut report,
    ) {
        Err(DatasetError::Interrupted) => return Err(StageError::Interrupted),
        result => result?,
    };
    if summary.rejected > 0 {
        context.warn(format!(
            "{} images were left out; `rejected.parquet` in the artifact names each with its cause",
            summary.rejected
        ));
    }
    let Value::Object(summary) = json!({
        "images": summary.images,
        "shards": summary.shards,
        "rejected": summary.rejected,
        "class_names": summary.class_names,
        "credit": source.credit(),
    }) else {
        unreachable!("a literal object is an object")
    };
    Ok(Outcome {
        summary,
        scores: Vec::new(),
    })
}

fn source_settings(settings: &PrepareSettings) -> SourceSettings {
    SourceSettings {
        source: settings.source.clone(),
        labels: match settings.labels {
            Labels::None => source::Labels::None,
            Labels::Folder => source::Labels::Folder,
            Labels::Group => source::Labels::Group,
            Labels::SkinTone => source::Labels::SkinTone,
        },
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

fn dataset_settings(settings: &PrepareSettings) -> patchwork_dataset::PrepareSettings {
    patchwork_dataset::PrepareSettings {
        resolution: settings.resolution,
        transform: match settings.transform {
            Transform::CenterCrop => patchwork_dataset::transform::Transform::CenterCrop,
            Transform::Stretch => patchwork_dataset::transform::Transform::Stretch,
        },
        background: settings.background,
        images_per_shard: settings.images_per_shard as usize,
        max_rejected: settings.max_rejected,
        mirror: settings.mirror,
    }
}
