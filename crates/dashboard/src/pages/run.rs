//! `/runs/NAME`: one run.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};
use patchwork_registry::{AttemptRow, RunDetail, StageRow};
use serde_json::Value;

use super::charts::{Line, chart, controls, series_title};
use super::frame::{Place, frame};
use super::parts::{scores, status, time};
use crate::address;
use crate::error::DashboardError;
use crate::files;
use crate::home::Home;
use crate::pictures::{self, Pictures};
use crate::recorded::{needs, over_preset, setting};
use crate::text;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Path(name): Path<String>,
) -> Result<Markup, DashboardError> {
    let run = home.registry().await?.run(&name).await?;
    let content = content(&home, &run).await?;
    Ok(frame(&run.run.name, &Place::Run(&run.run.name), &content))
}

/// Everything on the page of a run.
pub(crate) async fn content(home: &Home, run: &RunDetail) -> Result<Markup, DashboardError> {
    let pictures = pictures::of_run(home, run).await?;
    let mut stages = Vec::new();
    for stage in &run.stages {
        stages.push((stage, made(home, stage).await?));
    }
    Ok(html! {
        (heading(run))
        section #stages aria-labelledby="stages-title" {
            h2 #stages-title { "Stages" }
            (graph(run, &stages))
            (attempts(&run.attempts))
        }
        @if !run.scores.is_empty() {
            section #scores { h2 { "Scores" } (scores(&run.scores)) }
        }
        (events(run))
        (gallery(run, &pictures))
        @if !run.metrics.is_empty() { section #series { h2 { "Series" } (controls()) (charts(run)) (last_values(run)) } }
        (logs(run))
        (settings(run))
        (provenance(run))
    })
}

fn heading(run: &RunDetail) -> Markup {
    html! {
        section #head {
            h1 { (run.run.name) " " (status(&run.run.status.to_string())) }
            p.muted {
                "pipeline " (run.run.pipeline) ", started " (time(&run.run.started))
                @if let Some(seconds) = run.run.seconds { ", took " (text::duration(Some(seconds))) }
            }
            @if let (Some(metric), Some(value)) = (&run.run.metric, run.run.value) {
                p.score { (metric) " " strong { (text::number(Some(value))) }
                    @if let Some(samples) = run.run.samples { " of " (text::grouped(samples)) " samples" } }
            }
            (progress(run))
        }
    }
}

/// How far a running training is, by its series; the rate is that of the last point.
fn progress(run: &RunDetail) -> Markup {
    let running = run
        .stages
        .iter()
        .filter(|stage| stage.status.to_string() == "running");
    html! { @for stage in running {
        @let series = |name: &str| run.metrics.iter().find(|series| series.stage == stage.name && series.name == name);
        @let total = setting(run, &stage.name, "duration_images").and_then(|total| total.parse::<i64>().ok());
        @if let (Some(loss), Some(total)) = (series("loss"), total) {
            p.progress {
                label { (stage.name) " "
                    progress max=(total) value=(loss.last_step) { (loss.last_step * 100 / total.max(1)) " %" }
                }
                " " (text::grouped(loss.last_step)) " of " (text::grouped(total)) " images"
                @if let Some(rate) = series("images_per_second").and_then(|rate| rate.last).filter(|rate| *rate > 0.0) {
                    ", " (text::number(Some(rate))) " images/s"
                }
            }
        }
    } }
}

/// What a stage made: its summary and the files to download.
struct Made {
    summary: Vec<(String, String)>,
    files: Vec<(String, i64)>,
    bytes: i64,
    is_deleted: bool,
}

async fn made(home: &Home, stage: &StageRow) -> Result<Option<Made>, DashboardError> {
    if stage.path.is_none() {
        return Ok(None);
    }
    let (artifact, folder) = match home.artifact(&stage.fingerprint).await {
        Ok(found) => found,
        Err(DashboardError::Absent(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let manifest = files::manifest(&folder);
    let is_deleted = manifest.is_none();
    let listed = manifest
        .as_ref()
        .and_then(|manifest| manifest["files"].as_array());
    let files = listed
        .into_iter()
        .flatten()
        .filter_map(|file| Some((file["path"].as_str()?.to_owned(), file["bytes"].as_i64()?)))
        // The shards of a large set are hundreds; they are for programs.
        .filter(|(name, _)| !name.starts_with("shard-"))
        .collect();
    Ok(Some(Made {
        summary: text::facts(&artifact.summary),
        files,
        bytes: artifact.bytes,
        is_deleted,
    }))
}

fn graph(run: &RunDetail, stages: &[(&StageRow, Option<Made>)]) -> Markup {
    let needs = needs(run);
    html! { ol.graph { @for (stage, made) in stages {
        li.stage.{ "is-" (stage.status) } id={ "stage-" (stage.name) } {
            h3 { (stage.name) " " (status(&stage.status.to_string())) }
            p.muted {
                @if stage.kind != stage.name { (stage.kind) ", " }
                (text::duration(stage.seconds))
                @if let Some(inputs) = needs.get(&stage.name).filter(|inputs| !inputs.is_empty()) {
                    @for (position, input) in inputs.iter().enumerate() {
                        @if position == 0 { " ← " } @else { ", " }
                        a href={ "#stage-" (input) } { (input) }
                    }
                }
            }
            @if let Some(made) = made {
                @if !made.summary.is_empty() { dl { @for (name, value) in &made.summary {
                    // A sentence takes the whole width.
                    @let is_long = value.len() > 40;
                    dt.long[is_long] { (name) } dd.long[is_long] { (value) }
                } } }
                @if made.is_deleted { p.muted { "The artifact was deleted." } } @else {
                    details { summary { "Files, " (text::bytes(made.bytes)) }
                        ul { @for (name, bytes) in &made.files {
                            li { a href=(address::file(&stage.fingerprint, name)) download=(name) { (name) } " " span.muted { (text::bytes(*bytes)) } }
                        } }
                        @if stage.kind == "prepare" || stage.kind == "sample" {
                            p { a href=(address::data(&stage.fingerprint)) { "Look at the images" } }
                        }
                    }
                }
            }
        }
    } } }
}

fn attempts(attempts: &[AttemptRow]) -> Markup {
    html! { @for attempt in attempts.iter().filter(|attempt| attempt.error.is_some()) {
        details.error open { summary { (attempt.stage) ", attempt " (attempt.number) ": "
            (attempt.exit.as_deref().unwrap_or("failed")) ", " (time(attempt.ended.as_deref().unwrap_or(&attempt.heartbeat))) }
            pre { (attempt.error.as_deref().unwrap_or_default()) }
        }
    } }
}

fn events(run: &RunDetail) -> Markup {
    html! { @if !run.events.is_empty() { section #events {
        h2 { "Events" }
        ul.events { @for event in &run.events {
            li.{ "is-" (event.level) } {
                span.level { (event.level) } " " (time(&event.time)) " "
                @if let Some(stage) = &event.stage { strong { (stage) } " " }
                (event.message)
            }
        } }
    } } }
}

fn gallery(run: &RunDetail, pictures: &Pictures) -> Markup {
    html! { @if !pictures.sliders.is_empty() || !pictures.singles.is_empty() {
        section #pictures {
            h2 { "Pictures" }
            @if pictures.sliders.iter().any(|frames| frames.frames.len() > 1) {
                p { a href={ (address::run(&run.run.name)) "/samples" } { "Snapshots under one slider" } }
            }
            div.gallery {
                @for frames in &pictures.sliders { @if let Some(last) = frames.frames.last() { (picture(last)) } }
                @for single in &pictures.singles { (picture(single)) }
            }
        }
    } }
}

fn picture(picture: &pictures::Picture) -> Markup {
    html! { figure {
        a href=(picture.address) { img src=(picture.address) alt={ (picture.file) " of " (picture.stage) } loading="lazy"; }
        figcaption { (picture.stage) ": " (picture.file)
            @if let Some(images) = picture.images_seen { ", " (text::grouped(images as i64)) " images seen" } }
    } }
}

fn charts(run: &RunDetail) -> Markup {
    let name = &run.run.name;
    let line = |stage: &str, series: &str, key: usize| Line {
        label: series
            .split_once('/')
            .map_or(series, |(_, rest)| rest)
            .to_owned(),
        address: address::series(name, stage, series),
        key,
    };
    // Series of one family share a chart: `loss_by_side/16`, `loss_by_side/32`, …
    let mut families: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for series in &run.metrics {
        let family = series.name.split('/').next().unwrap_or(&series.name);
        families
            .entry((&series.stage, family))
            .or_default()
            .push(&series.name);
    }
    let order = |family: &str| match family {
        "loss" => 0,
        "loss_by_side" => 1,
        "loss_by_noise" => 2,
        "gradient_norm" => 3,
        "learning_rate" => 4,
        "images_per_second" => 5,
        "memory_mib" => 6,
        "data_share" => 7,
        _ => 8,
    };
    let mut families: Vec<_> = families.into_iter().collect();
    for (_, names) in &mut families {
        names.sort_by_key(|name| (leading_number(name), name.len()));
    }
    families.sort_by_key(|((stage, family), _)| (*stage, order(family), *family));
    html! { div.charts { @for ((stage, family), names) in families {
        @let title = series_title(family);
        @let kind = if family == "loss_by_noise" && names.len() > 1 { "heatmap" } else { "lines" };
        @let lines: Vec<_> = names.iter().enumerate().map(|(key, name)| line(stage, name, key)).collect();
        @let title = if kind == "heatmap" { format!("{title} and images seen") } else { title };
        (chart(&if stage == "train" { title } else { format!("{title} ({stage})") }, &lines, kind))
    } } }
}

/// Every series in short. Non-finite values are shown as such.
fn last_values(run: &RunDetail) -> Markup {
    let value =
        |value: Option<f64>| value.map_or("NaN".to_owned(), |value| text::number(Some(value)));
    html! { details #last-values { summary { "Last values of " (run.metrics.len()) " series" }
        div.scroll { table {
            thead { tr { th { "Stage" } th { "Series" } th.number { "Points" } th.number { "Last step" } th.number { "Last" } th.number { "Lowest" } th.number { "Highest" } } }
            tbody { @for series in &run.metrics { tr {
                td { (series.stage) } td.mono { (series.name) }
                td.number { (text::grouped(series.count)) } td.number { (text::grouped(series.last_step)) }
                td.number { (value(series.last)) } td.number { (value(series.min)) } td.number { (value(series.max)) }
            } } }
        } }
    } }
}

/// The number that a member of a family begins with, for the order of noise levels and patch sizes, in thousandths.
fn leading_number(name: &str) -> i64 {
    let rest = name.split_once('/').map_or("", |(_, rest)| rest);
    let digits: String = rest
        .chars()
        .take_while(|digit| digit.is_ascii_digit() || *digit == '.')
        .collect();
    digits
        .parse::<f64>()
        .map_or(0, |number| (number * 1000.0) as i64)
}

fn logs(run: &RunDetail) -> Markup {
    let started = run.stages.iter().filter(|stage| stage.started.is_some());
    html! { section #logs { h2 { "Logs" }
        @for stage in started {
            @let log = address::log(&run.run.name, &stage.name);
            details id={ "log-" (stage.name) } data-log=(log) {
                summary { (stage.name) }
                pre tabindex="0" { noscript { a href=(log) { "as JSON" } } }
            }
        }
    } }
}

fn settings(run: &RunDetail) -> Markup {
    html! { section #settings { h2 { "Settings" }
        @if let Some(over) = over_preset(run) {
            @if over.changed.is_empty() {
                p.muted { "As the preset " code { (over.file) } " has them." }
            } @else {
                p { (over.changed.len()) " over the preset " code { (over.file) } }
                div.scroll { table #over-preset {
                    thead { tr { th { "Setting" } th { "Value" } th { "Preset" } } }
                    tbody { @for (key, changed) in &over.changed {
                        tr { td.mono { (key) } td.mono { (changed.value) }
                            td.mono { @if let Some(value) = &changed.preset { (value) } @else { span.muted { "not set" } } } }
                    } }
                } }
            }
        }
        details { summary { "All " (run.params.len()) " settings" }
            label { "Find " input type="search" data-filter="settings-table"; }
            div.scroll { table #settings-table { tbody { @for (key, value) in &run.params {
                tr { td.mono { (key) } td.mono { (value) } }
            } } } }
        }
    } }
}

fn provenance(run: &RunDetail) -> Markup {
    let versions: Value = serde_json::from_str(&run.circumstances.versions).unwrap_or_default();
    html! { section #provenance { h2 { "Provenance" } dl.wide {
        dt { "command" } dd.mono { (run.circumstances.command) }
        dt { "machine" } dd { (run.circumstances.host) ", " (run.circumstances.cpu) ", " (run.circumstances.threads) " threads"
            @if let Some(gpus) = &run.circumstances.gpus { ", " (gpus) } }
        @if let Some(revision) = &run.circumstances.git_revision {
            dt { "revision" } dd.mono { (revision) @if run.circumstances.git_dirty == Some(true) { ", with uncommitted changes" } }
        }
        @for (name, value) in versions.as_object().into_iter().flatten() { dt { (name) } dd { (text::plain(value)) } }
        @for stage in &run.stages {
            dt { (stage.name) } dd.mono { (stage.fingerprint) }
        }
    } } }
}
