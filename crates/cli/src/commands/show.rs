//! `patchwork show`: everything about one run but its series.

use std::path::Path;

use patchwork_artifacts::Manifest;
use patchwork_registry::{Registry, RunDetail, ScoreRow};
use patchwork_terms::Kind;
use serde_json::json;

use super::signatures::signatures;
use crate::arguments::{Format, ShowArguments};
use crate::error::CliError;
use crate::output::{Rows, duration, exact_line, line, moments, score_text};

pub(crate) async fn show(home: &Path, arguments: &ShowArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let detail = registry.run(&arguments.run).await?;
    match arguments.format {
        Format::Json => {
            exact_line(&serde_json::to_string_pretty(&detail).expect("a run is plain data"))
        }
        Format::Csv => stages(home, &detail, Format::Csv).print(Format::Csv),
        Format::Table => {
            let signatures = signatures(home, &registry, &detail).await?;
            print(home, &detail, &signatures, arguments.settings)
        }
    }
}

fn print(
    home: &Path,
    detail: &RunDetail,
    signatures: &[String],
    settings: bool,
) -> Result<(), CliError> {
    line(&format!(
        "run       {} ({})",
        detail.run.name, detail.run.status
    ))?;
    line(&format!(
        "started   {}",
        moments::moment(&detail.run.started)
    ))?;
    line(&format!("command   {}", detail.circumstances.command))?;
    if let Some(revision) = &detail.circumstances.git_revision {
        let dirty = if detail.circumstances.git_dirty == Some(true) {
            ", with uncommitted changes"
        } else {
            ""
        };
        line(&format!("revision  {revision}{dirty}"))?;
    }
    line(&format!(
        "machine   {}, {}, {} threads{}",
        detail.circumstances.host,
        detail.circumstances.cpu,
        detail.circumstances.threads,
        detail
            .circumstances
            .gpus
            .as_ref()
            .map_or(String::new(), |gpus| format!(", {gpus}"))
    ))?;
    line(&format!("versions  {}", detail.circumstances.versions))?;
    stages(home, detail, Format::Table).print(Format::Table)?;
    for stage in &detail.stages {
        if let Some(report) = stage
            .path
            .as_ref()
            .and_then(|path| report(&home.join(path)))
        {
            line(&format!("{}: {report}", stage.name))?;
        }
    }
    for signature in signatures {
        line(&format!("signature: {signature}"))?;
    }
    for attempt in detail
        .attempts
        .iter()
        .filter(|attempt| attempt.error.is_some())
    {
        let error = attempt.error.as_deref().unwrap_or_default();
        line(&format!(
            "{} attempt {}: {error}",
            attempt.stage, attempt.number
        ))?;
    }
    if !detail.scores.is_empty() {
        scores(detail).print(Format::Table)?;
    }
    if !detail.metrics.is_empty() {
        metrics(detail).print(Format::Table)?;
    }
    for event in &detail.events {
        let time = moments::moment(&event.time);
        line(&format!("{time} {} {}", event.level, event.message))?;
    }
    if settings {
        let mut rows = Rows::new(&["setting", "value"]);
        for (key, value) in &detail.params {
            rows.push(vec![json!(key), json!(value)]);
        }
        rows.print(Format::Table)?;
    }
    Ok(())
}

/// What a stage did, in one line, as its artifact has it.
fn report(artifact: &Path) -> Option<String> {
    let manifest = Manifest::read(artifact).ok()?;
    Some(manifest.outcome.summary.get("report")?.as_str()?.to_owned())
}

fn stages(home: &Path, detail: &RunDetail, format: Format) -> Rows {
    let mut rows = Rows::new(&[
        "stage",
        "status",
        "time",
        "processor time",
        "peak memory",
        "artifact",
    ]);
    for stage in &detail.stages {
        rows.push(vec![
            json!(stage.name),
            json!(stage.status),
            duration(stage.seconds, format),
            duration(processor_seconds(detail, &stage.name), format),
            match peak_memory(detail, &stage.name) {
                Some(bytes) if format == Format::Table => {
                    json!(format!("{} MiB", bytes >> 20))
                }
                bytes => json!(bytes),
            },
            json!(
                stage
                    .path
                    .as_ref()
                    .map(|path| home.join(path).display().to_string())
            ),
        ]);
    }
    rows
}

/// Over all attempts of a stage.
fn processor_seconds(detail: &RunDetail, stage: &str) -> Option<f64> {
    detail
        .attempts
        .iter()
        .filter(|attempt| attempt.stage == stage)
        .filter_map(|attempt| attempt.cpu_seconds)
        .reduce(|sum, seconds| sum + seconds)
}

/// Of the attempt that took most.
fn peak_memory(detail: &RunDetail, stage: &str) -> Option<i64> {
    detail
        .attempts
        .iter()
        .filter(|attempt| attempt.stage == stage)
        .filter_map(|attempt| attempt.peak_memory_bytes)
        .max()
}

fn scores(detail: &RunDetail) -> Rows {
    let mut rows = Rows::new(&[
        "score of",
        "metric",
        "value",
        "± deviation",
        "images seen",
        "samples",
        "reference images",
    ]);
    for score in &detail.scores {
        let number = |value| score_text(value, 3);
        rows.push(vec![
            json!(subject(score)),
            json!(score.metric),
            json!(number(score.value)),
            json!(score.deviation.map(number)),
            json!(score.images_seen),
            json!(score.samples),
            json!(score.reference_images),
        ]);
    }
    rows
}

/// What a score is of, with the stage that measured it where that has a name of its own: of several such stages, each
/// may have measured the same.
pub(super) fn subject(score: &ScoreRow) -> String {
    if score.stage == Kind::Evaluate.name() {
        score.subject.clone()
    } else {
        format!("{} ({})", score.subject, score.stage)
    }
}

fn metrics(detail: &RunDetail) -> Rows {
    let mut rows = Rows::new(&["stage", "series", "points", "last", "lowest", "highest"]);
    let number = |value: Option<f64>| json!(value.map(|value| format!("{value:.5}")));
    for metric in &detail.metrics {
        rows.push(vec![
            json!(metric.stage),
            json!(metric.name),
            json!(metric.count),
            number(metric.last),
            number(metric.min),
            number(metric.max),
        ]);
    }
    rows
}
