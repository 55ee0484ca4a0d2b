//! Raw images to shards.

use std::ops::ControlFlow;

use patchwork_config::PrepareSettings;
use patchwork_dataset::DatasetError;
use patchwork_dataset::transform::Size;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_planner::source::open_source;
use serde_json::json;

use crate::device;
use crate::job::{execution, settings};

/// The raw data are not those that the run was planned with.
#[derive(Debug, thiserror::Error)]
#[error("the source `{path}` has changed since the run was planned; run again once it is complete")]
struct SourceChanged {
    path: String,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: PrepareSettings = settings(job)?;
    let source = open_source(&settings, &job.home.join("cache"), false)?;
    if job.source.is_some_and(|planned| planned != source.digest()) {
        let path = settings.source;
        return Err(SourceChanged { path }.into());
    }
    let mut resumed = None;
    let mut report = |progress: patchwork_dataset::Progress| {
        context.progress(Progress {
            done: progress.done,
            total: progress.total,
            resumed: *resumed.get_or_insert(progress.done),
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
    let unlabelled = (0..source.len())
        .filter(|index| source.entry(*index).label.is_none())
        .count();
    if unlabelled > 0 && !summary.class_names.is_empty() {
        context.warn(format!(
            "{unlabelled} of {} images have no class: the labels are for other names",
            source.len()
        ));
    }
    let summary = json!({
        "images": summary.images,
        "shards": summary.shards,
        "rejected": summary.rejected,
        "class_names": summary.class_names,
        "credit": source.credit(),
    });
    Ok(Outcome::new(summary, Vec::new()))
}

fn dataset_settings(settings: &PrepareSettings) -> patchwork_dataset::PrepareSettings {
    patchwork_dataset::PrepareSettings {
        size: Size {
            width: settings.resolution as usize,
            height: settings.height.unwrap_or(settings.resolution) as usize,
        },
        exif_orientation: settings.exif_orientation,
        transform: settings.transform,
        channels: settings.channels,
        background: settings.background,
        images_per_shard: settings.images_per_shard as usize,
        max_rejected: settings.max_rejected,
        mirror: settings.mirror,
    }
}
