//! `/data/FINGERPRINT`: what a prepared data set, or a set of samples, holds.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use patchwork_dataset::ShardSet;
use patchwork_dataset::grid::{Choice, images_png};
use patchwork_dataset::inspect::{Table, inspect, stats};
use patchwork_registry::ArtifactRow;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cuts::cuts;
use super::parts::encode;
use super::{Place, frame};
use crate::error::DashboardError;
use crate::home::Home;
use crate::patches::{Patches, Training, patches, sheet};
use crate::text;

/// Images on the page.
const IMAGES: usize = 64;
const COLUMNS: usize = 16;
/// Rows of a table on the page; the JSON has all.
const ROWS: usize = 200;

/// Runs that are named on the page.
const RUNS: i64 = 20;

/// What is shown of a set.
pub(crate) struct Data {
    artifact: ArtifactRow,
    runs: Vec<String>,
    tables: Vec<Table>,
    patches: Option<Patches>,
}

/// What the address of a page on data says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// The run whose patches are shown; without it the newest that trains on the set.
    run: String,
}

/// Reads the set's index, its list of rejected images, and where a training's patches lie.
pub(crate) async fn gather(
    home: &Home,
    fingerprint: &str,
    asked: &Asked,
) -> Result<Data, DashboardError> {
    let (artifact, folder) = set(home, fingerprint).await?;
    let runs = home.registry().await?.runs_with(fingerprint, RUNS).await?;
    let training = training(home, &artifact, &runs, asked).await?;
    let read = blocking(move || {
        let [_, sides, sizes, proportions, flat] = stats(&folder)?;
        let tables = inspect(&folder)?.into_iter();
        let tables = tables.chain([sides, sizes, proportions, flat]).collect();
        let patches = match training {
            Some(training) => Some(patches(&ShardSet::open(&folder)?, training)),
            None => None,
        };
        Ok((tables, patches))
    });
    let (tables, patches) = read.await?;
    Ok(Data {
        artifact,
        runs,
        tables,
        patches,
    })
}

/// The training whose patches are shown.
async fn training(
    home: &Home,
    artifact: &ArtifactRow,
    runs: &[String],
    asked: &Asked,
) -> Result<Option<Training>, DashboardError> {
    if artifact.kind != "prepare" {
        return Ok(None);
    }
    let registry = home.registry().await?;
    if !asked.run.is_empty() {
        let run = registry.run(&asked.run).await?;
        return Ok(Training::of(&run, &artifact.fingerprint));
    }
    for name in runs {
        let training = Training::of(&registry.run(name).await?, &artifact.fingerprint);
        if training.is_some() {
            return Ok(training);
        }
    }
    Ok(None)
}

async fn set(home: &Home, fingerprint: &str) -> Result<(ArtifactRow, PathBuf), DashboardError> {
    let (artifact, folder) = home.artifact(fingerprint).await?;
    let holds_images = matches!(artifact.kind.as_str(), "prepare" | "sample");
    if holds_images && crate::files::manifest(&folder).is_some() {
        Ok((artifact, folder))
    } else {
        Err(DashboardError::Absent(format!("data set `{fingerprint}`")))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, patchwork_dataset::DatasetError> + Send + 'static,
) -> Result<T, DashboardError> {
    let result = tokio::task::spawn_blocking(work).await;
    Ok(result.map_err(|_| DashboardError::Unfinished)??)
}

impl Data {
    /// As JSON: the artifact, its runs, the patches of a training, and each table as `patchwork dataset inspect --format json` has it.
    pub(crate) fn json(&self) -> Value {
        let tables: serde_json::Map<String, Value> = self
            .tables
            .iter()
            .map(|table| {
                let rows: Vec<Value> = table
                    .rows
                    .iter()
                    .map(|row| {
                        table
                            .columns
                            .iter()
                            .cloned()
                            .zip(row.iter().cloned())
                            .collect::<serde_json::Map<_, _>>()
                            .into()
                    })
                    .collect();
                (table.title.clone(), rows.into())
            })
            .collect();
        json!({ "artifact": self.artifact, "runs": self.runs, "tables": tables, "patches": self.patches })
    }
}

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Path(fingerprint): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, DashboardError> {
    let data = gather(&home, &fingerprint, &asked).await?;
    let summary: Value = serde_json::from_str(&data.artifact.summary).unwrap_or_default();
    let facts = summary.as_object().into_iter().flatten();
    let facts = facts
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_)));
    let title = if data.artifact.kind == "prepare" {
        "Data set"
    } else {
        "Samples"
    };
    let content = html! {
        h1 { (title) " " span.mono { (fingerprint.chars().take(12).collect::<String>()) } }
        p.muted { "used by " @for (position, run) in data.runs.iter().enumerate() {
            @if position > 0 { ", " } a href={ "/runs/" (encode(run)) } { (run) } } }
        dl.wide { @for (name, value) in facts { dt { (name.replace('_', " ")) } dd { (text::plain(value)) } } }
        figure { img src={ "/data/" (encode(&fingerprint)) "/images.png" } alt="images of the set, chosen at random, each once";
            figcaption { "Images chosen at random" } }
        @if data.artifact.kind == "prepare" { (cuts(&fingerprint, &data.runs, &asked.run, data.patches.as_ref())) }
        @for table in &data.tables { @if !table.rows.is_empty() { (section(table)) } }
    };
    Ok(frame(title, &Place::Other, &content))
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
    let cell = |column: &str, value: &Value| match value.as_f64() {
        _ if value.is_null() => "–".to_owned(),
        Some(share) if column == "share" => text::percent(share),
        _ => text::plain(value),
    };
    html! { section { h2.title { (table.title) }
        div.scroll { table {
            thead { tr { @for column in &table.columns { th { (column) } } @if histogram { th { span.hidden { "share" } } } } }
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
