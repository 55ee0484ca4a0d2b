//! The registry on a fresh database each: runs and their states, lineage, measurements, views,
//! two writers at once, processes that are gone, schemas that are too new.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod questions;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchwork_artifacts::event::{
    Artifact, Event, RECORD_FORMAT, Record, RunScore, RunStart, StageStart,
};
use patchwork_artifacts::manifest::{ManifestInput, Score, Subject};
use patchwork_artifacts::status::{MessageLevel, RunStatus, StageStatus};
use patchwork_artifacts::{Provenance, Timestamp};
use patchwork_core::{Digest, Fingerprint};
use patchwork_registry::{Answer, Refusal, Registry, RegistryError, SqlValue};
use serde_json::json;

fn fingerprint(of: &str) -> Fingerprint {
    Fingerprint::of(&json!(of))
}

fn new_run(pipeline: &str) -> RunStart {
    let stage = |name: &str| StageStart {
        name: name.to_owned(),
        kind: name.to_owned(),
        needs: Vec::new(),
        fingerprint: fingerprint(name),
    };
    RunStart {
        format: RECORD_FORMAT.to_owned(),
        run: String::new(),
        pipeline: pipeline.to_owned(),
        pid: std::process::id(),
        provenance: Provenance {
            command: "patchwork run".to_owned(),
            working_folder: "here".to_owned(),
            git_revision: None,
            git_dirty: Some(true),
            host: "machine".to_owned(),
            cpu: "processor".to_owned(),
            threads: 2,
            gpus: Some("Abacus 9".to_owned()),
            versions: json!({ "patchwork": "0.1.0" }),
        },
        definition: json!({}),
        params: vec![("stages.train.batch_size".to_owned(), "16".to_owned())],
        stages: ["prepare", "train", "evaluate"].map(stage).into(),
    }
}

fn record(time: Timestamp, stage: Option<&str>, event: Event) -> Record {
    Record {
        time,
        stage: stage.map(str::to_owned),
        attempt: None,
        event,
    }
}

fn point(name: &str, step: u64, value: f64) -> Record {
    let event = Event::Metric {
        name: name.to_owned(),
        step,
        value,
    };
    record(Timestamp::from_milliseconds(1500), Some("train"), event)
}

fn ended(status: StageStatus) -> Event {
    Event::StageEnded {
        status,
        artifact: None,
        scores: Vec::new(),
    }
}

fn score(subject: &str, value: f64, images_seen: Option<u64>) -> RunScore {
    RunScore {
        of: subject.to_owned(),
        score: Score {
            subject: Subject::Input(0),
            metric: "fd_efficientnet_lite0".to_owned(),
            quantity: None,
            value,
            deviation: None,
            extractor: "efficientnet-lite0".to_owned(),
            extractor_digest: Digest::of(b"weights"),
            resize: "bilinear-224".to_owned(),
            reference: fingerprint("reference"),
            reference_images: 500,
            reference_foreign: false,
            samples: 32,
            seeds: "0-31".to_owned(),
            codec: "none".to_owned(),
            images_seen,
        },
    }
}

fn artifact(kind: &str) -> Artifact {
    Artifact {
        fingerprint: fingerprint(kind),
        kind: kind.to_owned(),
        path: format!("artifacts/{kind}/x"),
        bytes: 12,
        inputs: vec![ManifestInput {
            kind: "source".to_owned(),
            fingerprint: fingerprint("source"),
        }],
        summary: serde_json::Map::new(),
    }
}

/// A moment that is not that of the test.
fn at(minute: u32) -> Timestamp {
    format!("2100-01-01T00:{minute:02}:00.000Z")
        .parse()
        .unwrap()
}

/// A run that is recorded as it goes.
struct Run<'a> {
    registry: &'a Registry,
    name: String,
    started: Timestamp,
}

impl<'a> Run<'a> {
    async fn begin(registry: &'a Registry, start: RunStart) -> Self {
        let (name, first) = registry.begin_run(start, 1).await.unwrap();
        Self {
            registry,
            name,
            started: first.time,
        }
    }

    async fn tell_all(&self, records: &[Record]) -> Vec<Refusal> {
        self.registry.apply(&self.name, records).await.unwrap()
    }

    /// Records something that the registry takes.
    async fn record(&self, time: Timestamp, stage: &str, event: Event) {
        let record = Record {
            attempt: Some(1),
            ..record(time, Some(stage), event)
        };
        let refusals = self.tell_all(&[record]).await;
        assert!(refusals.is_empty(), "{refusals:?}");
    }

    async fn measure(&self, points: &[Record]) {
        let refusals = self.tell_all(points).await;
        assert!(refusals.is_empty(), "{refusals:?}");
    }

    async fn score(&self, scores: Vec<RunScore>) {
        let ended = Event::StageEnded {
            status: StageStatus::Succeeded,
            artifact: None,
            scores,
        };
        self.record(at(1), "evaluate", ended).await;
    }
}

/// A registry in a folder that lives as long as the returned guard.
async fn fresh() -> (tempfile::TempDir, PathBuf, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home/registry.db");
    let registry = Registry::open(&path).await.unwrap();
    (folder, path, registry)
}

/// The answer as lines of values.
fn lines(registry: &Registry, sql: &str) -> Vec<String> {
    let table = registry.query(sql).unwrap();
    let line = |row: &Vec<SqlValue>| {
        row.iter()
            .map(SqlValue::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    table.rows.iter().map(line).collect()
}

#[tokio::test]
async fn a_run_is_recorded_and_told_again() {
    let (_folder, path, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    assert_eq!(run.name, "demo-1");

    for _ in 0..2 {
        let cached = Event::StageEnded {
            status: StageStatus::Cached,
            artifact: Some(Box::new(artifact("prepare"))),
            scores: Vec::new(),
        };
        run.record(at(1), "prepare", cached).await;
    }
    run.record(at(2), "train", Event::AttemptStarted { pid: 77 })
        .await;
    registry.heartbeat(&run.name).await.unwrap();
    let again = Record {
        attempt: Some(1),
        ..record(at(2), Some("train"), Event::AttemptStarted { pid: 78 })
    };
    let refusals = run.tell_all(&[point("loss", 1, 5.0), again]).await;
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].records, 1..2);
    let attempt_ended = Event::AttemptEnded {
        exit: "signal: 9".to_owned(),
        error: vec!["killed".to_owned(), "out of memory".to_owned()],
    };
    run.record(at(3), "train", attempt_ended).await;
    run.record(at(4), "train", ended(StageStatus::Failed)).await;
    run.record(at(4), "evaluate", ended(StageStatus::Skipped))
        .await;
    run.record(at(2), "train", Event::warning("slow")).await;
    let over = Event::Message {
        level: MessageLevel::Info,
        message: "over".to_owned(),
    };
    let failed = Event::RunEnded {
        status: RunStatus::Failed,
    };
    let refusals = run
        .tell_all(&[record(at(5), None, over), record(at(5), None, failed)])
        .await;
    assert!(refusals.is_empty(), "{refusals:?}");

    let reader = Registry::open_read_only(&path).await.unwrap();
    let detail = reader.run("latest").await.unwrap();
    assert_eq!(
        (detail.run.name.as_str(), detail.run.status),
        ("demo-1", RunStatus::Failed)
    );
    let counts = (
        detail.run.stages,
        detail.run.cached,
        detail.run.failed,
        detail.run.succeeded,
    );
    assert_eq!(counts, (3, 1, 1, 0));
    assert!(detail.run.ended.is_some() && detail.run.seconds.unwrap() >= 0.0);
    let states: Vec<_> = detail
        .stages
        .iter()
        .map(|stage| (stage.name.as_str(), stage.status))
        .collect();
    let expected = [
        ("prepare", StageStatus::Cached),
        ("train", StageStatus::Failed),
        ("evaluate", StageStatus::Skipped),
    ];
    assert_eq!(states, expected);
    assert_eq!(
        detail.stages[0].path.as_deref(),
        Some("artifacts/prepare/x")
    );
    assert_eq!(
        detail.attempts[0].error.as_deref(),
        Some("killed\nout of memory")
    );
    assert_eq!(detail.events.len(), 2);
    // Each row says when it happened, whenever it was written.
    let attempt = &detail.attempts[0];
    assert_eq!(
        (&attempt.started, &attempt.ended),
        (&at(2).to_string(), &Some(at(3).to_string()))
    );
    let stage = &detail.stages[1];
    assert_eq!(
        (&stage.started, &stage.ended),
        (&Some(at(2).to_string()), &Some(at(4).to_string()))
    );
    assert_eq!(
        (&detail.run.started, &detail.run.ended),
        (&run.started.to_string(), &Some(at(5).to_string()))
    );
    assert_eq!(detail.events[0].time, at(2).to_string());
    assert_eq!(
        lines(&reader, "SELECT recorded FROM artifacts"),
        [at(1).to_string()]
    );
    let circumstances = &detail.circumstances;
    assert_eq!(
        (&circumstances.git_revision, circumstances.git_dirty),
        (&None, Some(true))
    );
    assert_eq!(circumstances.gpus.as_deref(), Some("Abacus 9"));
    assert_eq!(circumstances.versions, r#"{"patchwork":"0.1.0"}"#);
    assert_eq!(detail.attempts[0].host, "machine");
    assert_eq!(
        detail.params,
        [("stages.train.batch_size".to_owned(), "16".to_owned())]
    );
    let failed = lines(
        &reader,
        "SELECT run, stage, attempt, exit FROM failed_stages",
    );
    assert_eq!(failed, ["demo-1 train 1 signal: 9"]);
    assert_eq!(lines(&reader, "SELECT role FROM stage_inputs"), ["source"]);
    assert_eq!(
        lines(
            &reader,
            "SELECT name FROM runs WHERE started LIKE '____-__-__T__:__:__.___Z'"
        ),
        ["demo-1"]
    );

    let unknown = run
        .tell_all(&[record(at(6), Some("trian"), ended(StageStatus::Failed))])
        .await;
    assert!(matches!(unknown[0].cause, RegistryError::NoStage { .. }));
}

/// A stage whose end has something that the tables do not take: none of it is entered, and all around it is.
#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let (_folder, _, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    let ended = Event::StageEnded {
        status: StageStatus::Succeeded,
        artifact: Some(Box::new(artifact("train"))),
        scores: vec![score("sample", f64::NAN, None)],
    };
    let records = [
        point("loss", 1, 5.0),
        record(at(1), Some("train"), ended),
        record(at(2), Some("train"), Event::warning("late")),
    ];
    let refusals = run.tell_all(&records).await;
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].records, 1..2);
    let counts = "SELECT (SELECT COUNT(*) FROM artifacts), (SELECT COUNT(*) FROM scores),
                         (SELECT COUNT(*) FROM metrics), (SELECT COUNT(*) FROM events)";
    assert_eq!(lines(&registry, counts), ["0 0 1 1"]);
    let status = "SELECT status FROM stages WHERE name = 'train'";
    assert_eq!(lines(&registry, status), ["pending"]);
}

/// Records that are applied once more, as in a lost registry, leave the same.
#[tokio::test]
async fn a_registry_is_what_its_records_make_it() {
    let (_folder, _, registry) = fresh().await;
    let (name, first) = registry.begin_run(new_run("demo"), 7).await.unwrap();
    assert_eq!(name, "demo-7");
    let attempt = |event| Record {
        attempt: Some(1),
        ..record(at(1), Some("train"), event)
    };
    let rest = [
        attempt(Event::AttemptStarted { pid: 77 }),
        point("loss", 1, 5.0),
        point("loss", 2, f64::NAN),
        attempt(Event::Resources {
            cpu_seconds: 2.5,
            peak_memory_bytes: u64::MAX,
        }),
        attempt(Event::AttemptEnded {
            exit: "exit status: 0".to_owned(),
            error: Vec::new(),
        }),
        record(
            at(2),
            Some("train"),
            Event::StageEnded {
                status: StageStatus::Succeeded,
                artifact: Some(Box::new(artifact("train"))),
                scores: vec![score("sample", 60.0, Some(70_000))],
            },
        ),
        record(
            at(3),
            None,
            Event::RunEnded {
                status: RunStatus::Succeeded,
            },
        ),
    ];
    assert!(registry.apply(&name, &rest).await.unwrap().is_empty());
    let (_other_folder, _, again) = fresh().await;
    let all = [&[first][..], &rest].concat();
    assert!(again.apply(&name, &all).await.unwrap().is_empty());
    let mut detail = registry.run("demo-7").await.unwrap();
    assert_eq!(detail, again.run("demo-7").await.unwrap());
    let attempt = detail.attempts.remove(0);
    assert_eq!(
        (attempt.cpu_seconds, attempt.peak_memory_bytes),
        (Some(2.5), Some(i64::MAX))
    );
    // A run of another name is not entered under this one.
    let refusals = again.apply("demo-8", &all[..1]).await.unwrap();
    assert!(matches!(refusals[0].cause, RegistryError::RunName(_)));
}

#[tokio::test]
async fn runs_are_found_by_name_prefix_and_latest() {
    let (_folder, _, registry) = fresh().await;
    for pipeline in ["demo", "emoji", "demo"] {
        Run::begin(&registry, new_run(pipeline)).await;
    }
    let names: Vec<_> = registry
        .runs(2)
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.name)
        .collect();
    assert_eq!(names, ["demo-2", "emoji-1"]);
    for (selector, name) in [("demo-1", "demo-1"), ("e", "emoji-1"), ("latest", "demo-2")] {
        assert_eq!(registry.run(selector).await.unwrap().run.name, name);
    }
    let ambiguous = registry.run("demo").await.unwrap_err().to_string();
    assert_eq!(
        ambiguous,
        "`demo` could be demo-2, demo-1; write more of the name"
    );
    assert!(matches!(
        registry.run("x").await,
        Err(RegistryError::NoRun(_))
    ));
    for _ in 0..9 {
        Run::begin(&registry, new_run("demo")).await;
    }
    assert_eq!(registry.run("demo-1").await.unwrap().run.name, "demo-1");
    let many = registry.run("demo-").await.unwrap_err().to_string();
    assert!(
        many.contains("demo-11, demo-10") && many.contains(" and 1 more; write more"),
        "{many}"
    );
}

#[tokio::test]
async fn summaries_follow_their_series_even_when_steps_come_again() {
    let (_folder, _, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    let record = async |points: &[Record]| {
        run.measure(points).await;
        let metrics = registry.run("latest").await.unwrap().metrics;
        let loss = metrics.iter().find(|metric| metric.name == "loss").unwrap();
        (loss.count, loss.last_step, loss.last, loss.min, loss.max)
    };
    let first = [
        point("loss", 1, 5.0),
        point("rate", 1, 0.1),
        point("loss", 2, 3.0),
    ];
    assert_eq!(
        record(&first).await,
        (2, 2, Some(3.0), Some(3.0), Some(5.0))
    );
    assert_eq!(
        record(&[point("loss", 3, 4.0)]).await,
        (3, 3, Some(4.0), Some(3.0), Some(5.0))
    );
    let again = [point("loss", 2, 2.5), point("loss", 3, f64::NAN)];
    assert_eq!(record(&again).await, (3, 3, None, Some(2.5), Some(5.0)));
    let view = lines(
        &registry,
        "SELECT run, stage, name, step, value, time FROM metrics WHERE step = 1 ORDER BY name",
    );
    assert_eq!(view[0], "demo-1 train loss 1 5 1970-01-01T00:00:01.500Z");
    assert_eq!(view.len(), 2);
    // Training resumes from step 1.
    record(&[point("late", 2, 1.0)]).await;
    run.record(at(1), "train", Event::Resumed { step: 1 }).await;
    let left = lines(
        &registry,
        "SELECT name, count, last_step, last, min, max FROM metric_summary ORDER BY name",
    );
    assert_eq!(left, ["loss 1 1 5 5 5", "rate 1 1 0.1 0.1 0.1"]);
    assert_eq!(lines(&registry, "SELECT * FROM metric_points").len(), 2);
}

#[tokio::test]
async fn scores_carry_what_makes_them_comparable() {
    let (_folder, _, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    for (subject, value, images) in [
        ("noise", 373.0, None),
        ("sample", 99.0, Some(70_000)),
        ("untrained", 300.0, Some(0)),
        ("sample", 60.0, Some(70_000)),
    ] {
        run.score(vec![score(subject, value, images)]).await;
    }
    let summary = &registry.runs(1).await.unwrap()[0];
    assert_eq!(
        (summary.metric.as_deref(), summary.value, summary.samples),
        (Some("fd_efficientnet_lite0"), Some(60.0), Some(32))
    );
    let history = lines(
        &registry,
        "SELECT subject, value, extractor_hash, samples, reference_images, images_seen \
         FROM fid_history WHERE metric = 'fd_efficientnet_lite0' ORDER BY value",
    );
    let digest = Digest::of(b"weights");
    assert_eq!(
        history,
        [
            format!("sample 60 {digest} 32 500 70000"),
            format!("untrained 300 {digest} 32 500 0"),
            format!("noise 373 {digest} 32 500 "),
        ]
    );
    assert_eq!(registry.run("latest").await.unwrap().scores.len(), 3);
}

#[tokio::test]
async fn queries_read_and_never_write() {
    let (_folder, path, registry) = fresh().await;
    let table = registry
        .query("WITH x(a) AS (SELECT NULL) SELECT a, 1 AS b, 1.5, 'c', x'ff' FROM x")
        .unwrap();
    assert_eq!(table.columns[..2], ["a", "b"]);
    let row = [
        SqlValue::Null,
        SqlValue::Integer(1),
        SqlValue::Real(1.5),
        SqlValue::Text("c".to_owned()),
        SqlValue::Blob(vec![255]),
    ];
    assert_eq!(table.rows, [row]);
    let empty = registry.query("SELECT name, status FROM runs").unwrap();
    assert_eq!((empty.columns.len(), empty.rows.len()), (2, 0));
    assert_eq!(lines(&registry, "PRAGMA journal_mode"), ["wal"]);
    for sql in [
        "DELETE FROM runs",
        "CREATE TABLE x (y)",
        "PRAGMA query_only = OFF; DELETE FROM runs",
    ] {
        let before = lines(&registry, "SELECT COUNT(*) FROM sqlite_schema");
        let _ = registry.query(sql);
        assert_eq!(
            lines(&registry, "SELECT COUNT(*) FROM sqlite_schema"),
            before
        );
    }
    assert!(
        registry
            .query("DELETE FROM runs")
            .unwrap_err()
            .to_string()
            .contains("readonly")
    );
    let reader = Registry::open_read_only(&path).await.unwrap();
    assert!(reader.begin_run(new_run("demo"), 1).await.is_err());
    let missing = Registry::open_read_only(Path::new("nowhere/registry.db")).await;
    assert!(matches!(missing, Err(RegistryError::Missing(_))));
}

#[tokio::test]
async fn questions_have_bounds() {
    const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    let (folder, _, registry) = fresh().await;
    let target = folder.path().join("written.db");
    let into = |sql: &str| sql.replace("TARGET", target.to_str().unwrap());
    for (sql, words) in [
        ("", "empty"),
        ("-- nothing", "empty"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        (
            "PRAGMA query_only = OFF; VACUUM INTO 'TARGET'",
            "not authorized",
        ),
        ("VACUUM INTO 'TARGET'", "readonly"),
        ("ATTACH 'TARGET' AS other", "not authorized"),
        ("PRAGMA query_only = OFF", "not authorized"),
        ("PRAGMA journal_mode = DELETE", "not authorized"),
        ("PRAGMA wal_checkpoint", "not authorized"),
        ("BEGIN IMMEDIATE", "not authorized"),
        ("CREATE TEMP TABLE x (y)", "readonly"),
        ("SELECT load_extension('TARGET')", "load_extension"),
        ("SELECT zeroblob(1000000000)", "64 MiB"),
        (
            "SELECT replace(hex(zeroblob(30000000)), '0', 'ab')",
            "64 MiB",
        ),
        ("DELETE FROM runs RETURNING id", "readonly"),
        ("SELECT x FROM nowhere", "nowhere"),
    ] {
        let error = registry.query(&into(sql)).unwrap_err().to_string();
        assert!(error.contains(words), "{sql}: {error}");
        assert!(!target.exists(), "{sql}");
    }
    // What has no end takes its time and not more, and rows come before it.
    let sorted = format!("{ENDLESS} SELECT x FROM n ORDER BY x DESC");
    let second = Duration::from_millis(500);
    let begin = std::time::Instant::now();
    let error = registry.ask(&sorted, second, &mut |_| ControlFlow::Continue(()));
    assert!(
        matches!(error, Err(RegistryError::QueryTime(_))),
        "{error:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
    let mut rows = 0;
    let endless = format!("{ENDLESS} SELECT x FROM n");
    let asked = registry.ask(&endless, second, &mut |part| {
        rows += usize::from(matches!(part, Answer::Row(_)));
        if rows == 1000 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(asked.is_ok() && rows == 1000, "{asked:?}");
    for sql in [
        "PRAGMA table_info(runs)",
        "SELECT * FROM pragma_table_info('runs')",
        "EXPLAIN SELECT 1",
    ] {
        assert!(!registry.query(sql).unwrap().rows.is_empty(), "{sql}");
    }
}

#[tokio::test]
async fn the_database_refuses_what_is_no_status_and_stages_without_a_run() {
    let (_folder, path, registry) = fresh().await;
    Run::begin(&registry, new_run("demo")).await;
    let of_no_run = [
        point("loss", 1, 1.0),
        record(at(0), Some("train"), Event::AttemptStarted { pid: 1 }),
    ];
    let refusals = registry.apply("demo-99", &of_no_run).await.unwrap();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    let raw = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    assert!(
        sqlx::query("UPDATE stages SET status = 'done'")
            .execute(&raw)
            .await
            .is_err()
    );
    assert!(
        sqlx::query("UPDATE stages SET status = 'failed'")
            .execute(&raw)
            .await
            .is_ok()
    );
    assert_eq!(lines(&registry, "PRAGMA integrity_check"), ["ok"]);
    assert!(lines(&registry, "PRAGMA foreign_key_check").is_empty());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let (_folder, path, registry) = fresh().await;
    registry.close().await;
    let raw = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&raw)
    .await
    .unwrap();
    for opened in [
        Registry::open(&path).await,
        Registry::open_read_only(&path).await,
    ] {
        let message = opened.unwrap_err().to_string();
        assert!(
            message.contains("has schema version 9999, but this program knows versions up to 5"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn opening_again_migrates_nothing_and_keeps_everything() {
    let (_folder, path, registry) = fresh().await;
    Run::begin(&registry, new_run("demo")).await;
    let migrations = "SELECT COUNT(*) FROM _sqlx_migrations";
    let before = lines(&registry, migrations);
    registry.close().await;
    let registry = Registry::open(&path).await.unwrap();
    let run = Run::begin(&registry, new_run("demo")).await;
    assert_eq!(run.name, "demo-2");
    assert_eq!(lines(&registry, migrations), before);
}

/// What one of several processes does: this test's own program, started again with a path.
#[tokio::test]
async fn names_are_given_once_by_processes_at_once() {
    const VARIABLE: &str = "PATCHWORK_TEST_REGISTRY";
    const RUNS: usize = 20;
    if let Some(path) = std::env::var_os(VARIABLE) {
        let registry = Registry::open(Path::new(&path)).await.unwrap();
        for step in 0..RUNS {
            let run = Run::begin(&registry, new_run("demo")).await;
            run.measure(&[point("loss", step as u64, 1.0)]).await;
        }
        return;
    }
    // The database does not exist yet: making it is part of the race.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let start = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["names_are_given_once_by_processes_at_once", "--exact"])
            .env(VARIABLE, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [start(), start(), start()] {
        assert!(process.wait().unwrap().success());
    }
    let registry = Registry::open_read_only(&path).await.unwrap();
    let counts = "SELECT COUNT(*), COUNT(DISTINCT name), MAX(number) FROM runs";
    assert_eq!(lines(&registry, counts), ["60 60 60"]);
    assert_eq!(lines(&registry, "SELECT COUNT(*) FROM metrics"), ["60"]);
}

#[tokio::test]
async fn two_writers_wait_for_each_other() {
    let (_folder, path, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    let write = async |registry: &Registry, name: &str| {
        for step in 0..50 {
            let refusals = registry.apply(&run.name, &[point(name, step, 1.0)]).await;
            assert!(refusals.unwrap().is_empty());
        }
    };
    let other = Registry::open(&path).await.unwrap();
    tokio::join!(write(&registry, "a"), write(&other, "b"));
    let counts = lines(
        &registry,
        "SELECT name, count, last_step FROM metric_summary ORDER BY name",
    );
    assert_eq!(counts, ["a 50 49", "b 50 49"]);
}

async fn started(registry: &Registry, worker: u32) -> Run<'_> {
    let run = Run::begin(registry, new_run("demo")).await;
    let now = Timestamp::now();
    run.record(now, "prepare", ended(StageStatus::Succeeded))
        .await;
    run.record(now, "train", Event::AttemptStarted { pid: worker })
        .await;
    run
}

#[tokio::test]
async fn what_runs_no_longer_is_recorded_as_interrupted() {
    let (_folder, _, registry) = fresh().await;
    started(&registry, 77).await;
    let this = std::process::id();

    // A live supervisor speaks for its workers; a worker that outlives it is not asked.
    assert!(
        registry
            .mark_stale_attempts(|pid, _| pid == this)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        registry.run("demo-1").await.unwrap().run.status,
        RunStatus::Running
    );
    let stale = registry
        .mark_stale_attempts(|pid, _| pid == 77)
        .await
        .unwrap();
    assert_eq!(
        (stale[0].run.as_str(), stale[0].stage.as_str(), stale.len()),
        ("demo-1", "train", 1)
    );
    let detail = registry.run("demo-1").await.unwrap();
    assert_eq!(detail.run.status, RunStatus::Interrupted);
    let states: Vec<_> = detail.stages.iter().map(|stage| stage.status).collect();
    assert_eq!(
        states,
        [
            StageStatus::Succeeded,
            StageStatus::Interrupted,
            StageStatus::Skipped
        ]
    );
    assert_eq!(detail.attempts[0].ended.as_ref(), Some(&stale[0].heartbeat));
    assert_eq!(detail.stages[1].ended.as_ref(), Some(&stale[0].heartbeat));
    assert!(
        registry
            .mark_stale_attempts(|_, _| false)
            .await
            .unwrap()
            .is_empty()
    );

    // Everything gone at once, with the time of the start handed over.
    let run = started(&registry, 78).await;
    let stale = registry
        .mark_stale_attempts(|pid, started| {
            assert!(pid == this && started.ends_with('Z'));
            false
        })
        .await
        .unwrap();
    assert_eq!((stale.len(), stale[0].run.as_str()), (1, run.name.as_str()));
    assert_eq!(
        registry.run(&run.name).await.unwrap().run.status,
        RunStatus::Interrupted
    );
}

#[tokio::test]
async fn the_first_schema_still_opens_after_a_copy_of_it_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/registry/schema-1.db");
    std::fs::copy(fixture, &path).unwrap();
    let registry = Registry::open(&path).await.unwrap();
    let run = registry.run("smoke-1").await.unwrap();
    assert_eq!(run.run.status, RunStatus::Succeeded);
    assert_eq!((run.attempts.len(), run.attempts[0].cpu_seconds), (5, None));
    assert!(!run.scores.is_empty() && !run.metrics.is_empty());
    let (stage, attempt) = (run.attempts[0].stage.clone(), run.attempts[0].number);
    let took = Record {
        attempt: u32::try_from(attempt).ok(),
        ..record(
            at(1),
            Some(&stage),
            Event::Resources {
                cpu_seconds: 2.5,
                peak_memory_bytes: 4096,
            },
        )
    };
    assert!(registry.apply("smoke-1", &[took]).await.unwrap().is_empty());
    let run = registry.run("smoke-1").await.unwrap();
    assert_eq!(run.attempts[0].peak_memory_bytes, Some(4096));
    registry.close().await;

    let copy = Registry::open_read_only(&folder.path().join("registry-schema-1.db"))
        .await
        .unwrap();
    let columns = lines(&copy, "SELECT name FROM pragma_table_info('attempts')");
    assert!(
        !columns.iter().any(|column| column == "cpu_seconds"),
        "{columns:?}"
    );
}
