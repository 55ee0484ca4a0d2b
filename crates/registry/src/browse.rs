//! What a page about runs asks: series thinned to what a screen shows, one setting or series of many runs, artifacts.

use std::collections::{BTreeMap, HashMap};

use patchwork_artifacts::status::RunStatus;
use serde::Serialize;

use crate::database::Registry;
use crate::error::RegistryError;
use crate::view::{RunRow, summary};

/// Which points of a series are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The lowest step, inclusive.
    pub from: i64,
    /// The highest step, inclusive.
    pub to: i64,
    /// Maximum number of intervals; each gives at most two points.
    pub intervals: i64,
}

impl Window {
    /// All of a series.
    pub fn all(intervals: i64) -> Self {
        Self {
            from: i64::MIN,
            to: i64::MAX,
            intervals,
        }
    }
}

/// Points of a series in ascending order of their steps, as columns of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Points {
    /// Whether these are all points of the window; otherwise each interval is shown by its lowest and highest value.
    pub exact: bool,
    /// The positions: images seen, in training.
    pub steps: Vec<i64>,
    /// When each was recorded, milliseconds since 1970.
    pub times: Vec<i64>,
    /// The values; none where a value was non-finite.
    pub values: Vec<Option<f64>>,
}

impl Points {
    fn push(&mut self, step: i64, time: i64, value: Option<f64>) {
        self.steps.push(step);
        self.times.push(time);
        self.values.push(value);
    }
}

/// A finished artifact.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct ArtifactRow {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The kind of stage that makes it.
    pub kind: String,
    /// Its folder below the home folder.
    pub path: String,
    /// Its size; 0 once `gc` has deleted it.
    pub bytes: i64,
    /// What the stage says about it, JSON as text.
    pub summary: String,
}

/// What is running.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Activity {
    /// The name of the newest run; none where there is none.
    pub newest: Option<String>,
    /// The names of the runs that are running, the oldest first.
    pub running: Vec<String>,
}

const ACTION: &str = "look up series";
const LOOK_UP_RUNS: &str = "look up runs";

/// Its number, first and last step, first and last time, lowest and highest value.
type Interval = (i64, i64, i64, i64, i64, Option<f64>, Option<f64>);

impl Registry {
    /// A number that changes when another process writes to the registry.
    pub async fn data_version(&self) -> Result<i64, RegistryError> {
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&self.pool)
            .await
            .map_err(RegistryError::during("look for changes"))
    }

    /// Which runs are running, and the newest of all.
    pub async fn activity(&self) -> Result<Activity, RegistryError> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT name FROM runs WHERE status = ? ORDER BY id")
                .bind(RunStatus::Running.name())
                .fetch_all(&self.pool)
                .await
                .map_err(RegistryError::during(LOOK_UP_RUNS))?;
        let newest = sqlx::query_scalar("SELECT name FROM runs ORDER BY id DESC LIMIT 1")
            .fetch_optional(&self.pool)
            .await
            .map_err(RegistryError::during(LOOK_UP_RUNS))?;
        Ok(Activity {
            newest,
            running: names,
        })
    }

    /// The runs with a key above `after`, and those of `running` whatever their keys, newest first: what may have
    /// changed since a listing.
    pub async fn runs_since(
        &self,
        after: i64,
        running: &[i64],
    ) -> Result<Vec<RunRow>, RegistryError> {
        let running = as_json(running);
        sqlx::query_as(summary!(
            "id > ?1 OR id IN (SELECT value FROM json_each(?2)) ORDER BY id DESC"
        ))
        .bind(after)
        .bind(running)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(LOOK_UP_RUNS))
    }

    /// The points of a series in a window, thinned to the lowest and the highest value of each interval where there are
    /// more than two an interval. None where the run, chosen as in [`Self::run`], has no such series.
    pub async fn points(
        &self,
        run: &str,
        stage: &str,
        name: &str,
        window: Window,
    ) -> Result<Option<Points>, RegistryError> {
        let series: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM metric_summary WHERE run_id = ? AND stage = ? AND name = ?",
        )
        .bind(self.select(run).await?)
        .bind(stage)
        .bind(name)
        .fetch_optional(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        match series {
            Some(series) => self.points_of(series, window).await.map(Some),
            None => Ok(None),
        }
    }

    /// The points of every series of a stage in a window, each as [`Self::points`] gives them, by the series' name. Empty
    /// where the run has no such stage.
    pub async fn points_of_stage(
        &self,
        run: &str,
        stage: &str,
        window: Window,
    ) -> Result<BTreeMap<String, Points>, RegistryError> {
        let series: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, name FROM metric_summary WHERE run_id = ? AND stage = ?")
                .bind(self.select(run).await?)
                .bind(stage)
                .fetch_all(&self.pool)
                .await
                .map_err(RegistryError::during(ACTION))?;
        let mut points = BTreeMap::new();
        for (series, name) in series {
            points.insert(name, self.points_of(series, window).await?);
        }
        Ok(points)
    }

    async fn points_of(&self, series: i64, window: Window) -> Result<Points, RegistryError> {
        let intervals = window.intervals.max(1);
        let (count, first, last): (i64, Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT COUNT(*), MIN(step), MAX(step) FROM metric_points WHERE series = ? AND step BETWEEN ? AND ?",
        )
        .bind(series)
        .bind(window.from)
        .bind(window.to)
        .fetch_one(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Points {
                exact: true,
                ..Points::default()
            });
        };
        let exact = count <= intervals.saturating_mul(2);
        let mut points = Points {
            exact,
            ..Points::default()
        };
        if exact {
            let rows: Vec<(i64, i64, Option<f64>)> = sqlx::query_as(
                "SELECT step, time, value FROM metric_points WHERE series = ? AND step BETWEEN ? AND ? ORDER BY step",
            )
            .bind(series)
            .bind(first)
            .bind(last)
            .fetch_all(&self.pool)
            .await
            .map_err(RegistryError::during(ACTION))?;
            for (step, time, value) in rows {
                points.push(step, time, value);
            }
            return Ok(points);
        }
        // Whole steps an interval, so that integers do it.
        let width = (last - first) / intervals + 1;
        let rows: Vec<Interval> = sqlx::query_as(
            "SELECT (step - ?2) / ?4 AS interval, MIN(step), MAX(step), MIN(time), MAX(time), MIN(value), MAX(value)
             FROM metric_points WHERE series = ?1 AND step BETWEEN ?2 AND ?3 GROUP BY interval ORDER BY interval",
        )
        .bind(series)
        .bind(first)
        .bind(last)
        .bind(width)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        for (_, first, last, begin, end, lowest, highest) in rows {
            points.push(first, begin, lowest);
            if last > first {
                points.push(last, end, highest);
            }
        }
        Ok(points)
    }

    /// The last value of the series of this name of each of these runs, by the run's key; of several stages' the
    /// longest series'.
    pub async fn last_values(
        &self,
        name: &str,
        runs: &[i64],
    ) -> Result<HashMap<i64, f64>, RegistryError> {
        let rows: Vec<(i64, f64)> = sqlx::query_as(
            "SELECT run_id, last FROM metric_summary
             WHERE name = ? AND last IS NOT NULL AND run_id IN (SELECT value FROM json_each(?)) ORDER BY count",
        )
        .bind(name)
        .bind(as_json(runs))
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        Ok(rows.into_iter().collect())
    }

    /// The longest series of this name of each of these runs, thinned to about `intervals` means, by the run's key.
    pub async fn outlines(
        &self,
        name: &str,
        runs: &[i64],
        intervals: i64,
    ) -> Result<HashMap<i64, Vec<f64>>, RegistryError> {
        let rows: Vec<(i64, f64)> = sqlx::query_as(
            "WITH chosen AS (
                 SELECT id, run_id, MAX(count), last_step FROM metric_summary
                 WHERE name = ? AND run_id IN (SELECT value FROM json_each(?)) GROUP BY run_id
             )
             SELECT chosen.run_id, AVG(points.value) FROM chosen
             JOIN metric_points AS points ON points.series = chosen.id
             WHERE points.value IS NOT NULL
             GROUP BY chosen.run_id, points.step * ?3 / (chosen.last_step + 1)
             ORDER BY chosen.run_id, points.step",
        )
        .bind(name)
        .bind(as_json(runs))
        .bind(intervals)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        let mut outlines: HashMap<i64, Vec<f64>> = HashMap::new();
        for (run, value) in rows {
            outlines.entry(run).or_default().push(value);
        }
        Ok(outlines)
    }

    /// The value of a setting, such as `stages.train.batch_size`, in every run that has it, by the run's key.
    pub async fn setting_of_runs(&self, key: &str) -> Result<HashMap<i64, String>, RegistryError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT run_id, value FROM params WHERE key = ?")
                .bind(key)
                .fetch_all(&self.pool)
                .await
                .map_err(RegistryError::during("look up settings"))?;
        Ok(rows.into_iter().collect())
    }

    /// The artifact of a fingerprint, if it was ever finished.
    pub async fn artifact(&self, fingerprint: &str) -> Result<Option<ArtifactRow>, RegistryError> {
        sqlx::query_as(
            "SELECT fingerprint, kind, path, bytes, summary FROM artifacts WHERE fingerprint = ?",
        )
        .bind(fingerprint)
        .fetch_optional(&self.pool)
        .await
        .map_err(RegistryError::during("look up an artifact"))
    }

    /// The names of the runs that made or used the artifact of a fingerprint, newest first, at most `limit`.
    pub async fn runs_with(
        &self,
        fingerprint: &str,
        limit: i64,
    ) -> Result<Vec<String>, RegistryError> {
        sqlx::query_scalar(
            "SELECT DISTINCT runs.name FROM stages JOIN runs ON runs.id = stages.run_id
             WHERE stages.fingerprint = ? ORDER BY runs.id DESC LIMIT ?",
        )
        .bind(fingerprint)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(LOOK_UP_RUNS))
    }
}

/// Keys as a JSON array, which SQLite reads as a table: any number of them in one parameter.
fn as_json(keys: &[i64]) -> String {
    let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
    format!("[{}]", keys.join(","))
}
