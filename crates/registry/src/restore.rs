//! Runs entered as they were: how a lost registry is made again.

use patchwork_core::name;
use sqlx::{Sqlite, Transaction};

use crate::database::{Registry, commit};
use crate::error::RegistryError;
use crate::measurements::{insert_points, score_statement};
use crate::record::{EventLevel, MetricPoint, NewRun, NewScore};
use crate::status::{RunStatus, StageStatus};

/// A run of the past. Times are RFC 3339 in UTC.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// What was known at its start.
    pub run: NewRun,
    /// Its name, `PIPELINE-NUMBER`.
    pub name: String,
    /// Where it stands.
    pub status: RunStatus,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Its supervisor.
    pub pid: u32,
    /// What became of its stages, in the order of `run.stages`.
    pub stages: Vec<PastStage>,
    /// In order of start.
    pub attempts: Vec<PastAttempt>,
    /// (stage, level, message, time), in order of time.
    pub events: Vec<(Option<String>, EventLevel, String, String)>,
    /// Each stage's series.
    pub points: Vec<(String, Vec<MetricPoint>)>,
    /// Scores, each with the stage that measured it.
    pub scores: Vec<(String, NewScore)>,
}

/// What became of a stage.
#[derive(Clone, Debug)]
pub struct PastStage {
    /// Where it stands.
    pub status: StageStatus,
    /// When its first attempt started.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
}

/// An attempt of the past.
#[derive(Clone, Debug)]
pub struct PastAttempt {
    /// The stage.
    pub stage: String,
    /// From 1.
    pub number: u32,
    /// The worker.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// What ended it.
    pub exit: Option<String>,
    /// The error and its causes, one a line.
    pub error: Option<String>,
    /// Processor time of all its threads.
    pub cpu_seconds: Option<f64>,
    /// The most memory that was resident at once.
    pub peak_memory_bytes: Option<u64>,
}

const ACTION: &str = "restore a run";

impl Registry {
    /// Enters a run of the past with its series and scores, all of it or nothing, and returns its key.
    ///
    /// # Errors
    /// [`RegistryError::RunName`] for a name that is not the pipeline's with a number.
    pub async fn restore_run(&self, past: &PastRun) -> Result<i64, RegistryError> {
        let number = name::run_number(&past.name, &past.run.pipeline)
            .ok_or_else(|| RegistryError::RunName(past.name.clone()))?;
        let mut transaction = self.begin(ACTION).await?;
        let id = insert(&mut transaction, past, i64::from(number))
            .await
            .map_err(RegistryError::during(ACTION))?;
        commit(transaction, ACTION).await?;
        Ok(id)
    }
}

async fn insert(
    transaction: &mut Transaction<'static, Sqlite>,
    past: &PastRun,
    number: i64,
) -> Result<i64, sqlx::Error> {
    let run = &past.run;
    let id = sqlx::query(
        "INSERT INTO runs (name, pipeline, number, status, started, ended, pid, definition, command,
             working_folder, git_revision, git_dirty, host, cpu, threads, gpus, versions)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&past.name)
    .bind(&run.pipeline)
    .bind(number)
    .bind(past.status)
    .bind(&past.started)
    .bind(&past.ended)
    .bind(past.pid)
    .bind(&run.definition_json)
    .bind(&run.command)
    .bind(&run.working_folder)
    .bind(&run.git_revision)
    .bind(run.git_dirty)
    .bind(&run.host)
    .bind(&run.cpu)
    .bind(run.threads as i64)
    .bind(&run.gpus)
    .bind(&run.versions_json)
    .execute(&mut **transaction)
    .await?
    .last_insert_rowid();
    for (stage, end) in run.stages.iter().zip(&past.stages) {
        let fingerprint = stage.fingerprint.to_string();
        sqlx::query(
            "INSERT INTO stages (run_id, name, kind, position, status, fingerprint, artifact, started, ended)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(&stage.name)
        .bind(&stage.kind)
        .bind(stage.position as i64)
        .bind(end.status)
        .bind(&fingerprint)
        .bind(end.status.is_done().then_some(&fingerprint))
        .bind(&end.started)
        .bind(&end.ended)
        .execute(&mut **transaction)
        .await?;
    }
    for (key, value) in &run.params {
        sqlx::query("INSERT INTO params (run_id, key, value) VALUES (?, ?, ?)")
            .bind(id)
            .bind(key)
            .bind(value)
            .execute(&mut **transaction)
            .await?;
    }
    for attempt in &past.attempts {
        sqlx::query(
            "INSERT INTO attempts (run_id, stage, number, pid, host, started, heartbeat, ended, exit, error,
                 cpu_seconds, peak_memory_bytes)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(&attempt.stage)
        .bind(attempt.number)
        .bind(attempt.pid)
        .bind(&run.host)
        .bind(&attempt.started)
        .bind(attempt.ended.as_ref().unwrap_or(&attempt.started))
        .bind(&attempt.ended)
        .bind(&attempt.exit)
        .bind(&attempt.error)
        .bind(attempt.cpu_seconds)
        .bind(attempt.peak_memory_bytes.map(|bytes| bytes as i64))
        .execute(&mut **transaction)
        .await?;
    }
    for (stage, level, message, time) in &past.events {
        sqlx::query(
            "INSERT INTO events (run_id, stage, level, message, time) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(stage)
        .bind(level)
        .bind(message)
        .bind(time)
        .execute(&mut **transaction)
        .await?;
    }
    for (stage, points) in &past.points {
        insert_points(transaction, id, stage, points).await?;
    }
    for (stage, score) in &past.scores {
        score_statement(id, stage, score)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(id)
}
