//! The rows that a record becomes.

use patchwork_artifacts::event::{Artifact, Event, Record, RunScore, RunStart};
use patchwork_artifacts::status::{RunStatus, StageStatus};
use patchwork_artifacts::time::Timestamp;
use patchwork_core::name;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::error::RegistryError;
use crate::object::{self, object};
use crate::series;

/// Enters one record, or several measurements.
pub(super) async fn enter(
    connection: &mut SqliteConnection,
    run: &str,
    records: &[Record],
) -> Result<(), RegistryError> {
    let Record {
        time,
        stage,
        attempt,
        event,
    } = &records[0];
    if let Event::RunStarted(start) = event {
        if start.run != run {
            return Err(RegistryError::RunName(start.run.clone()));
        }
        return start_run(connection, start, *time).await;
    }
    let id: i64 = sqlx::query_scalar("SELECT id FROM runs WHERE name = ?")
        .bind(run)
        .fetch_optional(&mut *connection)
        .await
        .map_err(RegistryError::during("look up a run"))?
        .ok_or_else(|| RegistryError::NoRun(run.to_owned()))?;
    let place = Place {
        run: id,
        stage: stage.as_deref(),
        attempt: attempt.unwrap_or(1),
        time: *time,
    };
    place.enter(connection, event, records).await
}

pub(super) async fn start_run(
    connection: &mut SqliteConnection,
    start: &RunStart,
    time: Timestamp,
) -> Result<(), RegistryError> {
    let number = name::run_number(&start.run, &start.pipeline)
        .ok_or_else(|| RegistryError::RunName(start.run.clone()))?;
    enter_start(connection, start, number, time)
        .await
        .map_err(RegistryError::during("record a run"))
}

async fn enter_start(
    connection: &mut SqliteConnection,
    start: &RunStart,
    number: u32,
    time: Timestamp,
) -> Result<(), sqlx::Error> {
    // The columns of the circumstances are called as their fields are.
    let mut row = object(&start.provenance);
    row.extend(object(&json!({
        "name": start.run,
        "pipeline": start.pipeline,
        "number": number,
        "status": RunStatus::Running,
        "started": time,
        "pid": start.pid,
        "definition": start.definition.to_string(),
    })));
    row.insert(
        "versions".to_owned(),
        json!(start.provenance.versions.to_string()),
    );
    let run = object::insert(connection, "INSERT INTO runs", row).await?;
    for (position, stage) in start.stages.iter().enumerate() {
        let row = object(&json!({
            "run_id": run,
            "name": stage.name,
            "kind": stage.kind,
            "position": position,
            "status": StageStatus::Pending,
            "fingerprint": stage.fingerprint,
        }));
        object::insert(connection, "INSERT INTO stages", row).await?;
    }
    for (key, value) in &start.params {
        let row = object(&json!({ "run_id": run, "key": key, "value": value }));
        object::insert(connection, "INSERT INTO params", row).await?;
    }
    Ok(())
}

pub(super) async fn enter_artifact(
    connection: &mut SqliteConnection,
    artifact: &Artifact,
    time: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO artifacts (fingerprint, kind, path, bytes, recorded, summary)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
    )
    .bind(artifact.fingerprint.to_string())
    .bind(&artifact.kind)
    .bind(&artifact.path)
    .bind(i64::try_from(artifact.bytes).unwrap_or(i64::MAX))
    .bind(time.to_string())
    .bind(Value::Object(artifact.summary.clone()).to_string())
    .execute(&mut *connection)
    .await?;
    for input in &artifact.inputs {
        let row = object(&json!({
            "fingerprint": artifact.fingerprint,
            "role": input.kind,
            "input": input.fingerprint,
        }));
        object::insert(connection, "INSERT OR IGNORE INTO stage_inputs", row).await?;
    }
    Ok(())
}

/// Where an event happened, and when.
struct Place<'a> {
    /// The run's key.
    run: i64,
    stage: Option<&'a str>,
    attempt: u32,
    time: Timestamp,
}

impl Place<'_> {
    async fn enter(
        &self,
        connection: &mut SqliteConnection,
        event: &Event,
        records: &[Record],
    ) -> Result<(), RegistryError> {
        let failed = RegistryError::during;
        match event {
            Event::AttemptStarted { pid } => self.start_attempt(connection, *pid).await,
            Event::Resources {
                cpu_seconds,
                peak_memory_bytes,
            } => {
                let took =
                    json!({ "cpu_seconds": cpu_seconds, "peak_memory_bytes": peak_memory_bytes });
                self.update_attempt(connection, &took)
                    .await
                    .map_err(failed("record what an attempt takes"))
            }
            Event::AttemptEnded { exit, error } => {
                let error = (!error.is_empty()).then(|| error.join("\n"));
                let ended = json!({
                    "ended": self.time, "heartbeat": self.time, "exit": exit, "error": error,
                });
                self.update_attempt(connection, &ended)
                    .await
                    .map_err(failed("record an attempt's end"))
            }
            Event::Metric { .. } => {
                let stage = self.stage.unwrap_or_default();
                series::enter(connection, self.run, stage, records)
                    .await
                    .map_err(failed("record metrics"))
            }
            Event::Resumed { step } => {
                let stage = self.stage.unwrap_or_default();
                let step = i64::try_from(*step).unwrap_or(i64::MAX);
                series::drop_after(connection, self.run, stage, step)
                    .await
                    .map_err(failed("drop metrics"))
            }
            Event::Message { level, message } => {
                let row = object(&json!({
                    "run_id": self.run, "stage": self.stage, "level": level, "message": message,
                    "time": self.time,
                }));
                object::insert(connection, "INSERT INTO events", row)
                    .await
                    .map(|_| ())
                    .map_err(failed("record a message"))
            }
            Event::StageEnded {
                status,
                artifact,
                scores,
            } => {
                if let Some(artifact) = artifact {
                    enter_artifact(connection, artifact, self.time)
                        .await
                        .map_err(failed("record an artifact"))?;
                }
                for score in scores {
                    self.enter_score(connection, score)
                        .await
                        .map_err(failed("record a score"))?;
                }
                self.end_stage(connection, *status).await
            }
            Event::RunEnded { status } => {
                sqlx::query("UPDATE runs SET status = ?, ended = ? WHERE id = ?")
                    .bind(status.name())
                    .bind(self.time.to_string())
                    .bind(self.run)
                    .execute(connection)
                    .await
                    .map(|_| ())
                    .map_err(failed("record a run's end"))
            }
            // An attempt's end records what becomes of it; the rest is transient.
            Event::Waiting
            | Event::Progress(_)
            | Event::Finished { .. }
            | Event::Interrupted { .. }
            | Event::Failed { .. }
            | Event::RunStarted(_) => Ok(()),
        }
    }

    async fn start_attempt(
        &self,
        connection: &mut SqliteConnection,
        pid: u32,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record an attempt";
        self.update_stage(
            connection,
            "UPDATE stages SET status = ?1, started = COALESCE(started, ?2), ended = NULL
             WHERE run_id = ?3 AND name = ?4",
            StageStatus::Running,
        )
        .await?;
        let host: String = sqlx::query_scalar("SELECT host FROM runs WHERE id = ?")
            .bind(self.run)
            .fetch_one(&mut *connection)
            .await
            .map_err(RegistryError::during(ACTION))?;
        let row = object(&json!({
            "run_id": self.run,
            "stage": self.stage,
            "number": self.attempt,
            "pid": pid,
            "host": host,
            "started": self.time,
            "heartbeat": self.time,
        }));
        object::insert(connection, "INSERT INTO attempts", row)
            .await
            .map(|_| ())
            .map_err(RegistryError::during(ACTION))
    }

    /// Sets columns of the attempt.
    async fn update_attempt(
        &self,
        connection: &mut SqliteConnection,
        columns: &Value,
    ) -> Result<(), sqlx::Error> {
        let attempt = json!({ "run_id": self.run, "stage": self.stage, "number": self.attempt });
        object::update(connection, "attempts", object(columns), object(&attempt)).await
    }

    async fn end_stage(
        &self,
        connection: &mut SqliteConnection,
        status: StageStatus,
    ) -> Result<(), RegistryError> {
        let sql = if status.is_done() {
            "UPDATE stages SET status = ?1, ended = ?2, artifact = fingerprint WHERE run_id = ?3 AND name = ?4"
        } else {
            "UPDATE stages SET status = ?1, ended = ?2 WHERE run_id = ?3 AND name = ?4"
        };
        self.update_stage(connection, sql, status).await
    }

    /// Carries out a statement on the stage, with its status as ?1 and the time as ?2.
    async fn update_stage(
        &self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        status: StageStatus,
    ) -> Result<(), RegistryError> {
        let changed = sqlx::query(sql)
            .bind(status.name())
            .bind(self.time.to_string())
            .bind(self.run)
            .bind(self.stage)
            .execute(connection)
            .await
            .map_err(RegistryError::during("record a stage's state"))?;
        if changed.rows_affected() == 0 {
            return Err(RegistryError::NoStage {
                stage: self.stage.unwrap_or_default().to_owned(),
            });
        }
        Ok(())
    }

    /// Enters a score, in the place of one of the same subject and metric. Its columns are called as its fields are.
    async fn enter_score(
        &self,
        connection: &mut SqliteConnection,
        score: &RunScore,
    ) -> Result<(), sqlx::Error> {
        let mut row = object(&score.score);
        let digest = row.remove("extractor_digest");
        row.extend(digest.map(|digest| ("extractor_hash".to_owned(), digest)));
        let quantity = score.score.quantity();
        row.extend(object(&json!({
            "run_id": self.run,
            "stage": self.stage,
            "subject": score.of,
            "quantity": quantity,
            "higher_is_better": quantity.higher_is_better(),
            "time": self.time,
        })));
        object::insert(connection, "INSERT OR REPLACE INTO scores", row)
            .await
            .map(|_| ())
    }
}
