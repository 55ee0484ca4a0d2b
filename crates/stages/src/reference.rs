//! A data set to the statistics of its features, which samples are compared with.

use patchwork_config::ReferenceSettings;
use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_metrics::open_extractor;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_planner::extractor::extractor_kind;
use serde_json::json;

use crate::accumulate::accumulate;
use crate::device;
use crate::job::{execution, first_images, settings, weights_folder};

/// The statistics' file in the artifact.
pub(crate) const STATISTICS_FILE: &str = "statistics.safetensors";

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: ReferenceSettings = settings(job)?;
    let device = device::configure(&execution(job)?)?;
    let extractor = open_extractor(
        extractor_kind(settings.extractor),
        weights_folder(job),
        device,
    )?;
    let data = ShardSet::open(&first_images(job)?.folder)?;
    let mut report = |done: usize, resumed: usize| {
        context.progress(Progress {
            done: done as u64,
            total: data.len() as u64,
            resumed: resumed as u64,
            unit: "images".to_owned(),
            note: extractor.name().to_owned(),
        });
        context.is_interrupted()
    };
    let state = context.state().join("moments.safetensors");
    let halves = accumulate(
        &data,
        extractor.as_ref(),
        settings.batch_size as usize,
        &state,
        &mut report,
    )?;
    durable::write(
        &context.artifact().join(STATISTICS_FILE),
        &halves.to_bytes()?,
    )?;
    let summary = json!({
        "images": data.len(),
        "extractor": extractor.name(),
        "resize": extractor.resize(),
        "dimension": extractor.dimension(),
    });
    Ok(Outcome::new(summary, Vec::new()))
}
