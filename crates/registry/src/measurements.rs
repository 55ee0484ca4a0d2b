//! Series of measured values, their summaries, and scores.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, Transaction};

use crate::clock::milliseconds;
use crate::database::{Registry, commit};
use crate::error::RegistryError;
use crate::record::{MetricPoint, NewScore};

const ACTION: &str = "record metrics";

impl Registry {
    /// Records points of a stage's series and keeps the series' summaries, in one write.
    pub async fn record_metrics(
        &self,
        run_id: i64,
        stage: &str,
        points: &[MetricPoint],
    ) -> Result<(), RegistryError> {
        if points.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin(ACTION).await?;
        insert_points(&mut transaction, run_id, stage, points)
            .await
            .map_err(RegistryError::during(ACTION))?;
        commit(transaction, ACTION).await
    }

    /// Drops the points of a stage's series after `step`, and series that have no others.
    pub async fn drop_metrics_after(
        &self,
        run_id: i64,
        stage: &str,
        step: i64,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "drop metrics";
        let mut transaction = self.begin(ACTION).await?;
        let late: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM metric_summary WHERE run_id = ? AND stage = ? AND last_step > ?",
        )
        .bind(run_id)
        .bind(stage)
        .bind(step)
        .fetch_all(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?;
        for series in late {
            for statement in [
                "DELETE FROM metric_points WHERE series = ?1 AND step > ?2",
                "DELETE FROM metric_summary WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM metric_points WHERE series = ?1 AND step <= ?2)",
            ] {
                sqlx::query(statement)
                    .bind(series)
                    .bind(step)
                    .execute(&mut *transaction)
                    .await
                    .map_err(RegistryError::during(ACTION))?;
            }
            summarise(&mut transaction, series)
                .await
                .map_err(RegistryError::during(ACTION))?;
        }
        commit(transaction, ACTION).await
    }

    /// Records a distance that the stage measured; one recorded before of the same subject and
    /// metric is replaced.
    pub async fn record_score(
        &self,
        run_id: i64,
        stage: &str,
        score: &NewScore,
    ) -> Result<(), RegistryError> {
        self.write("record a score", score_statement(run_id, stage, score))
            .await
    }
}

/// The statement that enters a score, in the place of one of the same subject and metric.
pub(crate) fn score_statement<'a>(
    run_id: i64,
    stage: &'a str,
    score: &'a NewScore,
) -> Query<'a, Sqlite, SqliteArguments> {
    sqlx::query(
        "INSERT OR REPLACE INTO scores (run_id, stage, subject, metric, value, extractor,
             extractor_hash, resize, reference, reference_images, samples, seeds, codec,
             images_seen, time, deviation, reference_foreign)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run_id)
    .bind(stage)
    .bind(&score.subject)
    .bind(&score.metric)
    .bind(score.value)
    .bind(&score.extractor)
    .bind(&score.extractor_hash)
    .bind(&score.resize)
    .bind(score.reference.to_string())
    .bind(score.reference_images as i64)
    .bind(score.samples as i64)
    .bind(&score.seeds)
    .bind(&score.codec)
    .bind(score.images_seen.map(|images| images as i64))
    .bind(&score.time)
    .bind(score.deviation)
    .bind(score.reference_foreign)
}

/// Enters points of a stage's series and keeps the series' summaries.
pub(crate) async fn insert_points(
    transaction: &mut Transaction<'static, Sqlite>,
    run_id: i64,
    stage: &str,
    points: &[MetricPoint],
) -> Result<(), sqlx::Error> {
    let mut names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let points: Vec<_> = points.iter().filter(|point| point.name == name).collect();
        record_series(transaction, run_id, stage, name, &points).await?;
    }
    Ok(())
}

/// A series as its summary row knows it.
#[derive(sqlx::FromRow)]
struct Series {
    id: i64,
    count: i64,
    last_step: i64,
    min: Option<f64>,
    max: Option<f64>,
}

async fn record_series(
    transaction: &mut Transaction<'static, Sqlite>,
    run_id: i64,
    stage: &str,
    name: &str,
    points: &[&MetricPoint],
) -> Result<(), sqlx::Error> {
    let mut series: Series = sqlx::query_as(
        "INSERT INTO metric_summary (run_id, stage, name, count, last_step)
         VALUES (?, ?, ?, 0, -9223372036854775808)
         ON CONFLICT DO UPDATE SET count = count
         RETURNING id, count, last_step, min, max",
    )
    .bind(run_id)
    .bind(stage)
    .bind(name)
    .fetch_one(&mut **transaction)
    .await?;
    let mut last = None;
    let mut in_order = true;
    for point in points {
        let value = Some(point.value).filter(|value| !value.is_nan());
        sqlx::query(
            "INSERT INTO metric_points (series, step, value, time) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time",
        )
        .bind(series.id)
        .bind(point.step)
        .bind(value)
        .bind(milliseconds(point.time))
        .execute(&mut **transaction)
        .await?;
        in_order &= point.step > series.last_step;
        series.last_step = point.step;
        series.count += 1;
        series.min = value.into_iter().chain(series.min).reduce(f64::min);
        series.max = value.into_iter().chain(series.max).reduce(f64::max);
        last = value;
    }
    if !in_order {
        return summarise(transaction, series.id).await;
    }
    sqlx::query(
        "UPDATE metric_summary SET count = ?, last_step = ?, last = ?, min = ?, max = ?
         WHERE id = ?",
    )
    .bind(series.count)
    .bind(series.last_step)
    .bind(last)
    .bind(series.min)
    .bind(series.max)
    .bind(series.id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Makes a series' summary from its points, when they came out of order or some were dropped.
async fn summarise(
    transaction: &mut Transaction<'static, Sqlite>,
    series: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE metric_summary SET (count, last_step, min, max) =
             (SELECT COUNT(*), MAX(step), MIN(value), MAX(value)
              FROM metric_points WHERE series = ?1),
             last = (SELECT value FROM metric_points WHERE series = ?1
                     ORDER BY step DESC LIMIT 1)
         WHERE id = ?1",
    )
    .bind(series)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
