//! Runs and the states of their stages.
//!
//! What is recorded may have happened before: its time is told, as [`now`] gives it.

use std::collections::BTreeSet;

use patchwork_core::Fingerprint;

use crate::clock::now;
use crate::database::{Registry, commit};
use crate::error::RegistryError;
use crate::record::{EventLevel, NewRun, RunRecord};
use crate::status::{RunStatus, StageStatus};

impl Registry {
    /// Records a run of this process, which starts now, with the next free number of its pipeline from
    /// `run.least_number` on, and its stages as pending.
    pub async fn create_run(&self, run: &NewRun) -> Result<RunRecord, RegistryError> {
        const ACTION: &str = "record a run";
        let mut transaction = self.begin(ACTION).await?;
        let number: i64 = sqlx::query_scalar(
            "SELECT MAX(?, COALESCE(MAX(number), 0) + 1) FROM runs WHERE pipeline = ?",
        )
        .bind(run.least_number)
        .bind(&run.pipeline)
        .fetch_one(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?;
        let name = format!("{}-{number}", run.pipeline);
        let started = now();
        let id = sqlx::query(
            "INSERT INTO runs (name, pipeline, number, status, started, pid, definition, command,
                 working_folder, git_revision, git_dirty, host, cpu, threads, gpus, versions)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&name)
        .bind(&run.pipeline)
        .bind(number)
        .bind(RunStatus::Running)
        .bind(&started)
        .bind(std::process::id())
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
        .execute(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?
        .last_insert_rowid();
        for stage in &run.stages {
            sqlx::query(
                "INSERT INTO stages (run_id, name, kind, position, status, fingerprint)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(id)
            .bind(&stage.name)
            .bind(&stage.kind)
            .bind(stage.position as i64)
            .bind(StageStatus::Pending)
            .bind(stage.fingerprint.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(ACTION))?;
        }
        for (key, value) in &run.params {
            sqlx::query("INSERT INTO params (run_id, key, value) VALUES (?, ?, ?)")
                .bind(id)
                .bind(key)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(RegistryError::during(ACTION))?;
        }
        commit(transaction, ACTION).await?;
        Ok(RunRecord { id, name, started })
    }

    /// The names of all runs.
    pub async fn run_names(&self) -> Result<BTreeSet<String>, RegistryError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT name FROM runs")
            .fetch_all(&self.pool)
            .await
            .map_err(RegistryError::during("list the runs"))?;
        Ok(names.into_iter().collect())
    }

    /// Records where a stage stands since `time` and, once there is one, its artifact.
    pub async fn set_stage(
        &self,
        run_id: i64,
        stage: &str,
        status: StageStatus,
        artifact: Option<Fingerprint>,
        time: &str,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record a stage's state";
        let mut transaction = self.begin(ACTION).await?;
        let started = (status == StageStatus::Running).then_some(time);
        let ended = status.is_final().then_some(time);
        let changed = sqlx::query(
            "UPDATE stages SET status = ?, artifact = COALESCE(?, artifact),
                 started = COALESCE(started, ?), ended = ?
             WHERE run_id = ? AND name = ?",
        )
        .bind(status)
        .bind(artifact.map(|artifact| artifact.to_string()))
        .bind(started)
        .bind(ended)
        .bind(run_id)
        .bind(stage)
        .execute(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?
        .rows_affected();
        if changed == 0 {
            return Err(RegistryError::NoStage {
                run_id,
                stage: stage.to_owned(),
            });
        }
        commit(transaction, ACTION).await
    }

    /// Records how a run ended at `time`.
    pub async fn finish_run(
        &self,
        run_id: i64,
        status: RunStatus,
        time: &str,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record a run's end";
        let statement = sqlx::query("UPDATE runs SET status = ?, ended = ? WHERE id = ?")
            .bind(status)
            .bind(time)
            .bind(run_id);
        self.write(ACTION, statement).await
    }

    /// Records something that happened at `time`, to a stage or to the run as a whole.
    pub async fn record_event(
        &self,
        run_id: i64,
        stage: Option<&str>,
        level: EventLevel,
        message: &str,
        time: &str,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record an event";
        let statement = sqlx::query(
            "INSERT INTO events (run_id, stage, level, message, time) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(run_id)
        .bind(stage)
        .bind(level)
        .bind(message)
        .bind(time);
        self.write(ACTION, statement).await
    }
}
