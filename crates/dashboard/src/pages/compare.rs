//! `/compare?runs=A,B`: runs side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use patchwork_registry::RunDetail;
use serde_json::{Value, json};

use super::charts::{Line, chart, controls, key, series_title};
use super::frame::{Place, frame};
use super::parts::{status, time};
use super::samples::slider;
use super::scatter::{Spot, scatter};
use crate::address;
use crate::comparison::{Asked, Comparison, gather};
use crate::error::DashboardError;
use crate::home::Home;
use crate::pictures::Pictures;
use crate::text;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Markup, DashboardError> {
    let comparison = gather(&home, &Asked::of(pairs)).await?;
    let place = Place::Several(comparison.names());
    Ok(frame("Compare", &place, &content(&comparison)))
}

/// Everything on the page.
pub(crate) fn content(comparison: &Comparison) -> Markup {
    html! {
        h1 { "Compare" }
        (overview(comparison))
        (ranking(comparison))
        (settings(comparison))
        (plotted(comparison))
        (grids(comparison))
        section #series { h2 { "Series" } (controls()) (charts(comparison)) }
    }
}

fn overview(comparison: &Comparison) -> Markup {
    html! { section #overview { div.scroll { table {
        thead { tr { th { "Run" } th { "Status" } th { "Started" } th.number { "Duration" } th { "Score" } } }
        tbody { @for (number, run) in comparison.runs.iter().enumerate() { tr {
            td { (key(number)) a href=(address::run(&run.run.name)) { (run.run.name) } }
            td { (status(&run.run.status.to_string())) }
            td { (time(&run.run.started)) }
            td.number { (text::duration(run.run.seconds)) }
            td { @if let Some(metric) = &run.run.metric { (metric) " " (text::number(run.run.value)) } @else { "–" } }
        } } }
    } } } }
}

fn ranking(comparison: &Comparison) -> Markup {
    let Some(metric) = &comparison.metric else {
        return html! { section { h2 { "Ranking" } p.muted { "None of these runs has a score yet." } } };
    };
    html! { section #ranking { h2 { "Ranking" }
        (chooser(comparison))
        @if comparison.differences.is_empty() {
            div.scroll { table {
                thead { tr { th.number { "Rank" } th { "Run" } th { "Of" } th.number { (metric) } th.number { "Deviation" } th.number { "Images seen" } th.number { "Samples" } } }
                tbody { @for (position, (run, score)) in comparison.scores.iter().enumerate() { tr {
                    td.number { (position + 1) }
                    td { (run) } td { (score.subject) }
                    td.number { (text::number(Some(score.value))) }
                    td.number { (text::number(score.deviation)) }
                    td.number { (score.images_seen.map_or("–".to_owned(), text::grouped)) }
                    td.number { (text::grouped(score.samples)) }
                } } }
            } }
        } @else {
            div.notice role="note" {
                p { "The scores of " code { (metric) } " do not compare, so they are not ranked:" }
                ul { @for line in &comparison.differences { li { (line.trim()) } } }
            }
        }
    } }
}

fn chooser(comparison: &Comparison) -> Markup {
    html! { @if comparison.metrics.len() > 1 || comparison.settings.len() > 1 {
        form.filters method="get" action="/compare" {
            input type="hidden" name="runs" value=(comparison.names().join(","));
            label { "Metric " select name="metric" { @for name in &comparison.metrics {
                option value=(name) selected[Some(name) == comparison.metric.as_ref()] { (name) }
            } } }
            @if !comparison.settings.is_empty() { label { "Setting " select name="setting" { @for (key, _) in &comparison.settings {
                option value=(key) selected[Some(key) == comparison.setting.as_ref()] { (key) }
            } } } }
            button type="submit" { "Show" }
        }
    } }
}

fn settings(comparison: &Comparison) -> Markup {
    html! { section { h2 { "Settings that differ" }
        @if comparison.settings.is_empty() { p.muted { "None." } } @else { div.scroll { table {
            thead { tr { th { "Setting" } @for name in comparison.names() { th { (name) } } } }
            tbody { @for (key, values) in &comparison.settings { tr {
                td.mono { (key) }
                @for value in values { td.mono { (value.as_deref().unwrap_or("–")) } }
            } } }
        } } }
    } }
}

/// Score against the chosen setting.
fn plotted(comparison: &Comparison) -> Markup {
    let settings = &comparison.settings;
    let column = settings
        .iter()
        .find(|(key, _)| Some(key) == comparison.setting.as_ref());
    let Some((setting, values)) = column.filter(|_| comparison.differences.is_empty()) else {
        return html! {};
    };
    let spots: Vec<Spot<'_>> = comparison
        .scores
        .iter()
        .filter_map(|(run, score)| {
            let mut names = comparison.runs.iter();
            let key = names.position(|known| known.run.name == *run)?;
            Some(Spot {
                run,
                key,
                setting: values[key].as_deref(),
                score: score.value,
            })
        })
        .collect();
    let metric = comparison.metric.as_deref().unwrap_or("score");
    scatter(setting, metric, &spots)
}

/// Snapshots of all runs under one slider, and two grids as a wipe.
fn grids(comparison: &Comparison) -> Markup {
    let pairs: Vec<(&RunDetail, &Pictures)> =
        comparison.runs.iter().zip(&comparison.pictures).collect();
    let last: Vec<Value> = pairs
        .iter()
        .filter_map(|(run, pictures)| {
            let sliders = pictures.sliders.iter().flat_map(|frames| &frames.frames);
            let grids = pictures
                .singles
                .iter()
                .filter(|picture| picture.file == "grid.png");
            let picture = grids.chain(sliders).next_back()?;
            Some(json!({ "run": run.run.name, "address": picture.address }))
        })
        .collect();
    html! { @if pairs.iter().any(|(_, pictures)| !pictures.sliders.is_empty()) { section { h2 { "Snapshots" }
        p { label { "All together " input type="range" min="0" max="100" value="100" data-together aria-label="Share of the training"; } }
        div.side { @for (run, pictures) in &pairs { @for frames in &pictures.sliders { div { h3 { (run.run.name) } (slider(frames)) } } } }
    } }
    @if last.len() > 1 { section { h2 { "Wipe" }
        figure.wipe data-wipe=(Value::from(last)) { div.stagebox {} figcaption {} }
    } } }
}

fn charts(comparison: &Comparison) -> Markup {
    // Families of series, such as loss by noise level, would be a thicket here: each member has a chart of its own.
    let mut charts: BTreeMap<(bool, &str), Vec<Line>> = BTreeMap::new();
    for (key, run) in comparison.runs.iter().enumerate() {
        for series in &run.metrics {
            let line = Line {
                label: run.run.name.clone(),
                address: address::series(&run.run.name, &series.stage, &series.name),
                key,
            };
            charts
                .entry((series.name != "loss", &series.name))
                .or_default()
                .push(line);
        }
    }
    html! { div.charts { @for ((_, name), lines) in &charts { (chart(&series_title(name), lines, "lines")) } } }
}
