//! The stage that turns raw images into shards.
//!
//! It computes nothing with libtorch and does not know it, so that the program that does it starts at once.

use std::ops::ControlFlow;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_dataset::decode::FULL_DEPTH;
use patchwork_dataset::source::{Account, classes_text, codecs, limited};
use patchwork_dataset::transform::Size;
use patchwork_dataset::{DatasetError, Summary};
use patchwork_recipes::prepare::source::{Places, open_source};
use patchwork_recipes::{Execution, PrepareJob, PrepareSettings};
use serde_json::json;

/// The raw data are not those that the run was planned with.
#[derive(Debug, thiserror::Error)]
#[error("the source `{path}` has changed since the run was planned; run again once it is complete")]
struct SourceChanged {
    path: String,
}

/// Passes on how far a set of images is, and ends the work on it where the stage is interrupted.
pub fn reporter(
    context: &Context,
) -> impl FnMut(patchwork_dataset::Progress) -> ControlFlow<()> + '_ {
    let mut resumed = None;
    move |progress| {
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
    }
}

/// Does a prepare stage's job.
pub fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let typed = PrepareJob::read(job)?;
    let settings = typed.settings();
    let source = open_source(&settings, &Places::of_home(&job.home), false)?;
    let source = match settings.max_images {
        Some(most) => limited(source, most as usize),
        None => source,
    };
    if job.source.is_some_and(|planned| planned != source.digest()) {
        let path = settings.source;
        return Err(SourceChanged { path }.into());
    }
    let mut report = reporter(context);
    let summary = match patchwork_dataset::prepare(
        &dataset_settings(&settings),
        source.as_ref(),
        context.artifact(),
        threads(&typed.uncovered.execution),
        &mut report,
    ) {
        Err(DatasetError::Interrupted) => return Err(StageError::Interrupted),
        result => result?,
    };
    let account = source.account();
    for warning in &account.warnings {
        context.warn(warning.clone());
    }
    warn_of_depth(&summary, settings.depth, context);
    if summary.rejected > 0 {
        context.warn(format!(
            "rejected images: {}; `rejected.parquet` in the artifact names each with its cause",
            summary.rejected
        ));
    }
    let codec = codecs(source.as_ref());
    let mut summary = json!({
        "report": report_line(account, source.len() as u64, &summary),
        "images": summary.images,
        "shards": summary.shards,
        "rejected": summary.rejected,
        "class_names": summary.class_names,
        "class_counts": summary.class_counts,
        "credit": source.credit(),
        "source": account,
    });
    if let Some(codec) = codec {
        summary["codec"] = json!(codec);
    }
    Ok(Outcome::new(summary, Vec::new()))
}

fn threads(execution: &Execution) -> usize {
    execution
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// `recognised as ...; 12 images taken, 2 passed over (...), 0 rejected; 2 classes: ...`.
fn report_line(account: &Account, images: u64, summary: &Summary) -> String {
    let passed_over = match account.passed_over.total() {
        0 => "0 passed over".to_owned(),
        entries => format!("{entries} passed over ({})", account.passed_over.text()),
    };
    let mut line = format!(
        "{}; {} images taken, {passed_over}, {} rejected",
        account.reading(),
        images - summary.rejected,
        summary.rejected,
    );
    if !summary.class_names.is_empty() {
        line = format!(
            "{line}; {}",
            classes_text(&summary.class_names, &summary.class_counts)
        );
    }
    line
}

/// Warns of 16-bit images that are nearly black because few of their bits are used, and of those that are cut.
fn warn_of_depth(summary: &Summary, depth: Option<u32>, context: &Context) {
    let seen = summary.depth;
    let used = depth.unwrap_or(FULL_DEPTH);
    if let Some(bits) = seen.unused(used) {
        context.warn(format!(
            "the samples of {} 16-bit images reach {} of {}: they seem to have {bits} bits, of which eight are kept as if \
             they had {used}, so that the images come out dark; `depth = {bits}` scales them to the whole range",
            seen.images,
            seen.largest,
            (1_u32 << used) - 1,
        ));
    } else if u32::from(seen.largest) >> used > 0 {
        context.warn(format!(
            "16-bit samples reach {}, which is more than `depth = {used}` has: they are cut to white",
            seen.largest
        ));
    }
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
        depth: settings.depth.unwrap_or(FULL_DEPTH),
    }
}
