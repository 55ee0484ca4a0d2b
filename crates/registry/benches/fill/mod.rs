//! The benchmark registry, which `just bench registry` and `just bench serve` ask.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Runs of five stages with a hundred settings, five series, three scores: one in a hundred failed, one in fifty
/// tried a stage twice.
pub(crate) async fn fill(path: &Path, runs: i64, points: i64) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .pragma("synchronous", "OFF");
    let mut connection: SqliteConnection = options.connect().await.unwrap();
    let series = 5;
    let steps = points / series;
    let statements = [
        format!(
            "INSERT INTO runs (id, name, pipeline, number, status, started, ended, pid, definition, command,
                working_folder, git_revision, git_dirty, host, cpu, threads, versions) SELECT value, 'demo-' || value, 'demo', value,
                CASE WHEN value % 100 = 0 THEN 'failed' ELSE 'succeeded' END, '2026-01-01T00:00:00.000Z',
                '2026-01-01T01:00:00.000Z', 1, '{{}}', 'patchwork run', '/', 'abc', value % 200 = 0, 'host', 'cpu', 2,
                '{{}}' FROM generate_series_of_{runs}"
        ),
        "INSERT INTO stages SELECT runs.id, kinds.kind, kinds.kind, kinds.position,
                CASE WHEN runs.id % 100 = 0 AND kind = 'evaluate' THEN 'failed'
                     WHEN runs.id % 70 = 0 AND kind = 'train' THEN 'interrupted' ELSE 'succeeded' END,
                printf('%032x', runs.id * 8 + position), printf('%032x', runs.id * 8 + position), started, ended
             FROM runs, kinds"
            .to_owned(),
        "INSERT INTO attempts (run_id, stage, number, pid, host, started, heartbeat, ended, exit)
             SELECT run_id, name, numbers.value, 2, 'host', started, started, ended, 'exit status: 0'
             FROM stages JOIN (SELECT 1 AS value UNION SELECT 2) AS numbers
             WHERE numbers.value = 1 OR (run_id % 50 = 0 AND name = 'train')"
            .to_owned(),
        "INSERT INTO artifacts SELECT artifact, kind, 'artifacts/' || kind || '/' || artifact, 1000000, started, '{}'
             FROM stages WHERE status = 'succeeded'"
            .to_owned(),
        "INSERT INTO stage_inputs SELECT artifact, 'input', printf('%032x', run_id * 8 + position - 1)
             FROM stages WHERE status = 'succeeded' AND position > 0"
            .to_owned(),
        "INSERT INTO params SELECT runs.id, 'stages.train.setting_' || numbers.value, (runs.id * numbers.value) % 7
             FROM runs, numbers"
            .to_owned(),
        "INSERT INTO params SELECT id, 'stages.train.batch_size', 32 << (id % 4) FROM runs".to_owned(),
        format!(
            "INSERT INTO metric_summary (run_id, stage, name, count, last_step, last, min, max)
             SELECT runs.id, 'train', names.name, {steps}, {steps}, 1.0, 0.5, 2.0 FROM runs, names"
        ),
        format!(
            "INSERT INTO metric_points SELECT metric_summary.id, steps.value * 1000, 1.0 / steps.value, 1760000000000
             FROM metric_summary, (SELECT value FROM numbers_up_to WHERE value <= {steps}) AS steps"
        ),
        "INSERT INTO scores (run_id, stage, subject, metric, value, extractor, extractor_hash, resize, reference,
                reference_images, samples, seeds, codec, images_seen, time) SELECT runs.id, 'evaluate', subjects.subject, 'fd_efficientnet_lite0',
                100.0 + (runs.id * 7919) % 1000, 'efficientnet_lite0', 'abc', 'bilinear', 'reference', 1000, 1000,
                '0-999', 'raw u8', CASE subjects.subject WHEN 'sample' THEN 36000 END, started
             FROM runs, subjects"
            .to_owned(),
        "INSERT INTO events (run_id, stage, level, message, time)
             SELECT id, 'evaluate', CASE WHEN id % 10 = 0 THEN 'warning' ELSE 'info' END, 'something', started FROM runs"
            .to_owned(),
    ];
    let helpers = [
        format!(
            "CREATE TEMP TABLE generate_series_of_{runs} AS
             WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < {runs})
             SELECT value FROM numbers"
        ),
        "CREATE TEMP TABLE kinds AS SELECT column1 AS kind, column2 AS position FROM (VALUES
             ('prepare', 0), ('reference', 1), ('train', 2), ('sample', 3), ('evaluate', 4))"
            .to_owned(),
        "CREATE TEMP TABLE names AS SELECT column1 AS name FROM (VALUES ('loss'), ('gradient_norm'),
             ('learning_rate'), ('images_per_second'), ('data_share'))"
            .to_owned(),
        "CREATE TEMP TABLE subjects AS SELECT column1 AS subject FROM (VALUES ('sample'), ('noise'), ('real-halves'))"
            .to_owned(),
        "CREATE TEMP TABLE numbers AS WITH RECURSIVE numbers (value) AS
             (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < 99) SELECT value FROM numbers"
            .to_owned(),
        format!(
            "CREATE TEMP TABLE numbers_up_to AS WITH RECURSIVE numbers (value) AS
             (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < {steps}) SELECT value FROM numbers"
        ),
    ];
    for sql in helpers.into_iter().chain(statements) {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}
