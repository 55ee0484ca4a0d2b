//! `/data/FINGERPRINT`: what a prepared data set, or a set of samples, holds.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use patchwork_dataset::ShardSet;
use patchwork_dataset::grid::{Choice, images_png};
use patchwork_dataset::inspect::Table;
use serde_json::Value;

use super::cuts::cuts;
use super::frame::{Place, frame};
use crate::address;
use crate::data::{Asked, RUNS, blocking, gather, set, training};
use crate::error::DashboardError;
use crate::home::Home;
use crate::patches::sheet;
use crate::text;

/// Images on the page.
const IMAGES: usize = 64;
const COLUMNS: usize = 16;
/// Rows of a table on the page; the JSON has all.
const ROWS: usize = 200;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Path(fingerprint): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, DashboardError> {
    let data = gather(&home, &fingerprint, &asked).await?;
    let title = if data.artifact.kind == "prepare" {
        "Data set"
    } else {
        "Samples"
    };
    let content = html! {
        h1 { (title) " " span.mono { (fingerprint.chars().take(12).collect::<String>()) } }
        p.muted { "used by " @for (position, run) in data.runs.iter().enumerate() {
            @if position > 0 { ", " } a href=(address::run(run)) { (run) } } }
        dl.wide { @for (name, value) in text::facts(&data.artifact.summary) { dt { (name) } dd { (value) } } }
        figure { img src={ (address::data(&fingerprint)) "/images.png" } alt="images of the set, chosen at random, each once";
            figcaption { "Images chosen at random" } }
        @if data.artifact.kind == "prepare" { (cuts(&fingerprint, &data.runs, &asked.run, data.patches.as_ref())) }
        @for table in &data.tables { @if !table.rows.is_empty() { (section(table)) } }
    };
    Ok(frame(title, &Place::Data, &content))
}

fn section(table: &Table) -> Markup {
    let histogram = table.title == "classes" && table.rows.len() > 1;
    let count = |row: &[Value]| {
        row.iter()
            .filter_map(Value::as_f64)
            .next_back()
            .unwrap_or_default()
    };
    let most = table.rows.iter().map(|row| count(row)).fold(0.0, f64::max);
    let is_overview = table.title == "overview";
    let is_numeric = |place: usize| {
        let first = table.rows.first().and_then(|row| row.get(place));
        !is_overview && first.is_some_and(Value::is_number)
    };
    let cell = |column: &str, value: &Value| match value.as_f64() {
        _ if value.is_null() => "–".to_owned(),
        Some(share) if column == "share" => text::percent(share),
        _ => text::plain(value),
    };
    html! { section { h2.title { (table.title) }
        div.scroll { table {
            thead { tr { @for (place, column) in table.columns.iter().enumerate() { th.number[is_numeric(place)] { (column) } } @if histogram { th { span.hidden { "share" } } } } }
            tbody { @for row in table.rows.iter().take(ROWS) { tr {
                @for (column, value) in table.columns.iter().zip(row) {
                    td.number[value.is_number() && !is_overview] { (cell(column, value)) }
                }
                @if histogram { td { meter min="0" max=(most) value=(count(row)) { (count(row)) } } }
            } } }
        } }
        @if table.rows.len() > ROWS { p.muted { "and " (table.rows.len() - ROWS) " more" } }
    } }
}

/// `/data/FINGERPRINT/images.png`: images chosen by a fixed seed.
pub(crate) async fn images(
    State(home): State<Arc<Home>>,
    Path(fingerprint): Path<String>,
) -> Result<Response, DashboardError> {
    let (_, folder) = set(&home, &fingerprint).await?;
    let png = blocking(move || {
        let set = ShardSet::open(&folder)?;
        let choice = Choice {
            count: IMAGES,
            class: None,
            seed: Some(0),
        };
        images_png(&set, &choice.images(&set)?, COLUMNS)
    });
    Ok(forever(png.await?))
}

/// `/data/FINGERPRINT/patches.png?run=NAME`: the images whose patches are shown, without gaps.
pub(crate) async fn patch_images(
    State(home): State<Arc<Home>>,
    Path(fingerprint): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, DashboardError> {
    let (artifact, folder) = set(&home, &fingerprint).await?;
    let runs = home.registry().await?.runs_with(&fingerprint, RUNS).await?;
    let training = training(&home, &artifact, &runs, &asked).await?;
    let training = training.ok_or_else(|| {
        DashboardError::Absent(format!("training of run `{}` on this data set", asked.run))
    })?;
    let png = blocking(move || sheet(&ShardSet::open(&folder)?, training));
    Ok(forever(png.await?))
}

/// A picture that never changes: both the set and the run's settings are fixed.
fn forever(png: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    (headers, png).into_response()
}
