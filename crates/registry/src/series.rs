//! Series of measured values and their summaries.

use std::collections::BTreeMap;

use patchwork_artifacts::event::{Event, Record};
use sqlx::SqliteConnection;

/// A measurement of a series.
struct Point {
    step: i64,
    /// None: not a number.
    value: Option<f64>,
    /// Milliseconds since 1970.
    time: i64,
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

/// Enters the measurements among the records of a stage and keeps the series' summaries.
pub(crate) async fn enter(
    connection: &mut SqliteConnection,
    run: i64,
    stage: &str,
    records: &[Record],
) -> Result<(), sqlx::Error> {
    let mut series: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    for record in records {
        if let Event::Metric { name, step, value } = &record.event {
            series.entry(name).or_default().push(Point {
                step: i64::try_from(*step).unwrap_or(i64::MAX),
                value: Some(*value).filter(|value| !value.is_nan()),
                time: record.time.milliseconds(),
            });
        }
    }
    for (name, points) in series {
        enter_series(connection, run, stage, name, &points).await?;
    }
    Ok(())
}

async fn enter_series(
    connection: &mut SqliteConnection,
    run: i64,
    stage: &str,
    name: &str,
    points: &[Point],
) -> Result<(), sqlx::Error> {
    let mut series: Series = sqlx::query_as(
        "INSERT INTO metric_summary (run_id, stage, name, count, last_step)
         VALUES (?, ?, ?, 0, -9223372036854775808)
         ON CONFLICT DO UPDATE SET count = count
         RETURNING id, count, last_step, min, max",
    )
    .bind(run)
    .bind(stage)
    .bind(name)
    .fetch_one(&mut *connection)
    .await?;
    let mut last = None;
    let mut in_order = true;
    for point in points {
        sqlx::query(
            "INSERT INTO metric_points (series, step, value, time) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time",
        )
        .bind(series.id)
        .bind(point.step)
        .bind(point.value)
        .bind(point.time)
        .execute(&mut *connection)
        .await?;
        in_order &= point.step > series.last_step;
        series.last_step = point.step;
        series.count += 1;
        series.min = point.value.into_iter().chain(series.min).reduce(f64::min);
        series.max = point.value.into_iter().chain(series.max).reduce(f64::max);
        last = point.value;
    }
    if !in_order {
        return summarise(connection, series.id).await;
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
    .execute(connection)
    .await?;
    Ok(())
}

/// Drops the points of a stage's series after `step`, and series that have no others.
pub(crate) async fn drop_after(
    connection: &mut SqliteConnection,
    run: i64,
    stage: &str,
    step: i64,
) -> Result<(), sqlx::Error> {
    let late: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM metric_summary WHERE run_id = ? AND stage = ? AND last_step > ?",
    )
    .bind(run)
    .bind(stage)
    .bind(step)
    .fetch_all(&mut *connection)
    .await?;
    for series in late {
        for statement in [
            "DELETE FROM metric_points WHERE series = ?1 AND step > ?2",
            "DELETE FROM metric_summary WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM metric_points WHERE series = ?1 AND step <= ?2)",
        ] {
            sqlx::query(statement)
                .bind(series)
                .bind(step)
                .execute(&mut *connection)
                .await?;
        }
        summarise(connection, series).await?;
    }
    Ok(())
}

/// Makes a series' summary from its points, when they came out of order or some were dropped.
async fn summarise(connection: &mut SqliteConnection, series: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE metric_summary SET (count, last_step, min, max) =
             (SELECT COUNT(*), MAX(step), MIN(value), MAX(value)
              FROM metric_points WHERE series = ?1),
             last = (SELECT value FROM metric_points WHERE series = ?1
                     ORDER BY step DESC LIMIT 1)
         WHERE id = ?1",
    )
    .bind(series)
    .execute(connection)
    .await?;
    Ok(())
}
