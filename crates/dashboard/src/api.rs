//! What the pages show, as JSON: the same shapes as `--format json` of the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use patchwork_registry::Window;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::DashboardError;
use crate::files;
use crate::home::Home;
use crate::listing::{Listed, Wanted};
use crate::{comparison, data, listing, pictures};

/// Bytes of a log that one answer has at most.
const LOG_BYTES: u64 = 64 << 10;
/// Intervals that a series is thinned to where nothing else is asked for.
pub(crate) const INTERVALS: i64 = 600;
/// Maximum number of intervals that a series is thinned to.
const MOST_INTERVALS: i64 = 4096;

type Answer = Result<Response, Failure>;

/// An error as JSON.
pub(crate) struct Failure(DashboardError);

impl<E: Into<DashboardError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0 {
            DashboardError::NoRegistry(_) => axum::http::StatusCode::NOT_FOUND,
            ref error => error.status(),
        };
        (status, Json(json!({ "error": self.0.chain() }))).into_response()
    }
}

/// `/api/runs`: the runs that match, as `patchwork runs --format json`.
pub(crate) async fn runs(State(home): State<Arc<Home>>, Query(wanted): Query<Wanted>) -> Answer {
    let chosen = listing::choose(&home.registry().await?, &home.listing, &wanted).await?;
    let rows: Vec<Value> = chosen
        .rows
        .iter()
        .map(|Listed { run: row, .. }| {
            json!({
                "run": row.name, "status": row.status, "started": row.started, "time": row.seconds,
                "stages": row.stages, "cached": row.cached, "metric": row.metric, "value": row.value,
                "samples": row.samples,
            })
        })
        .collect();
    Ok(Json(rows).into_response())
}

/// `/api/runs/NAME`: as `patchwork show NAME --format json`.
pub(crate) async fn run(State(home): State<Arc<Home>>, Path(name): Path<String>) -> Answer {
    let run = home.registry().await?.run(&name).await?;
    Ok(Json(run).into_response())
}

/// `/api/runs/NAME/pictures`: its pictures by stage.
pub(crate) async fn run_pictures(
    State(home): State<Arc<Home>>,
    Path(name): Path<String>,
) -> Answer {
    let run = home.registry().await?.run(&name).await?;
    Ok(Json(pictures::of_run(&home, &run).await?).into_response())
}

/// Which points of which series.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeriesQuery {
    stage: String,
    /// All of the stage without it.
    name: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    intervals: Option<i64>,
}

/// `/api/runs/NAME/series?stage=…&name=…`: its points, thinned; without `name` those of every series of the stage.
pub(crate) async fn series(
    State(home): State<Arc<Home>>,
    Path(run): Path<String>,
    Query(query): Query<SeriesQuery>,
) -> Answer {
    let window = Window {
        from: query.from.unwrap_or(i64::MIN),
        to: query.to.unwrap_or(i64::MAX),
        intervals: query
            .intervals
            .unwrap_or(INTERVALS)
            .clamp(1, MOST_INTERVALS),
    };
    let registry = home.registry().await?;
    let stage = &query.stage;
    let Some(name) = &query.name else {
        let series = registry.points_of_stage(&run, stage, window).await?;
        if series.is_empty() {
            let text = format!("series of stage `{stage}` in run `{run}`");
            return Err(DashboardError::Absent(text).into());
        }
        return Ok(Json(series).into_response());
    };
    let points = registry.points(&run, stage, name, window).await?;
    let points = points.ok_or_else(|| {
        DashboardError::Absent(format!("series `{name}` of stage `{stage}` in run `{run}`"))
    })?;
    Ok(Json(points).into_response())
}

/// Which part of which log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LogQuery {
    stage: String,
    from: Option<u64>,
}

/// `/api/runs/NAME/log?stage=…&from=…`: the log of a stage from a byte on, at most its last 64 KiB.
pub(crate) async fn log(
    State(home): State<Arc<Home>>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Answer {
    let run = home.registry().await?.run(&name).await?;
    let stage = run.stages.iter().find(|stage| stage.name == query.stage);
    let absent = || DashboardError::Absent(format!("stage `{}` in run `{name}`", query.stage));
    let stage = stage.ok_or_else(absent)?;
    let path = home.log(&run.run.name, &stage.name);
    let tail = path.and_then(|path| files::tail(&path, query.from, LOG_BYTES));
    let (text, end) = tail.unwrap_or_default();
    Ok(Json(json!({ "text": text, "end": end })).into_response())
}

/// `/api/compare?runs=A,B`: the settings in which runs differ, their scores, and what keeps these from being ranked.
pub(crate) async fn compare(
    State(home): State<Arc<Home>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Answer {
    let asked = comparison::Asked::of(pairs);
    let comparison = comparison::gather(&home, &asked).await?;
    Ok(Json(comparison.json()).into_response())
}

/// `/api/data/FINGERPRINT`: what a prepared data set holds.
pub(crate) async fn data(
    State(home): State<Arc<Home>>,
    Path(fingerprint): Path<String>,
    Query(asked): Query<data::Asked>,
) -> Answer {
    let data = data::gather(&home, &fingerprint, &asked).await?;
    Ok(Json(data.json()).into_response())
}
