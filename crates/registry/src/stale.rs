//! Rows that say `running` of processes that are gone.

use patchwork_artifacts::status::{RunStatus, StageStatus};

use crate::database::{Registry, commit};
use crate::error::RegistryError;

/// An attempt whose worker crashed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StaleAttempt {
    /// The run's name.
    pub run: String,
    /// The stage.
    pub stage: String,
    /// The attempt's number, from 1.
    pub number: i64,
    /// When it was last heard of, RFC 3339 in UTC.
    pub heartbeat: String,
    #[sqlx(rename = "id")]
    attempt_id: i64,
    run_id: i64,
}

#[derive(sqlx::FromRow)]
struct OpenRun {
    id: i64,
    pid: u32,
    started: String,
}

const ACTION: &str = "recognise interrupted runs";

impl Registry {
    /// Records as interrupted, at their last heartbeat, the attempts, stages and runs whose
    /// supervisor is gone (killed, or the machine restarted), and returns the attempts. A worker
    /// that is still there is on its way to its last durable point, and nobody hears of its end.
    ///
    /// `is_alive` is asked with a supervisor's process id and when its run was recorded as started, RFC
    /// 3339 in UTC; a process that started later than that is another one with the same id.
    pub async fn mark_stale_attempts(
        &self,
        is_alive: impl Fn(u32, &str) -> bool,
    ) -> Result<Vec<StaleAttempt>, RegistryError> {
        let mut transaction = self.begin(ACTION).await?;
        // A live supervisor speaks for its own workers, whatever became of them.
        let open_runs: Vec<OpenRun> =
            sqlx::query_as("SELECT id, pid, started FROM runs WHERE status = ?")
                .bind(RunStatus::Running.name())
                .fetch_all(&mut *transaction)
                .await
                .map_err(RegistryError::during(ACTION))?;
        let (supervised, abandoned): (Vec<_>, Vec<_>) = open_runs
            .into_iter()
            .partition(|run| is_alive(run.pid, &run.started));
        let open: Vec<StaleAttempt> = sqlx::query_as(
            "SELECT attempts.id, run_id, runs.name AS run, stage, attempts.number, heartbeat
             FROM attempts JOIN runs ON runs.id = attempts.run_id
             WHERE attempts.ended IS NULL ORDER BY attempts.id",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?;
        let stale: Vec<_> = open
            .into_iter()
            .filter(|attempt| supervised.iter().all(|run| run.id != attempt.run_id))
            .collect();
        for attempt in &stale {
            sqlx::query(
                "UPDATE attempts SET ended = heartbeat, exit = 'process gone' WHERE id = ?",
            )
            .bind(attempt.attempt_id)
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(ACTION))?;
            sqlx::query(
                "UPDATE stages SET status = ?, ended = ? WHERE run_id = ? AND name = ? AND status = ?",
            )
            .bind(StageStatus::Interrupted.name())
            .bind(&attempt.heartbeat)
            .bind(attempt.run_id)
            .bind(&attempt.stage)
            .bind(StageStatus::Running.name())
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(ACTION))?;
        }
        for run in &abandoned {
            sqlx::query(
                "UPDATE runs SET status = ?, ended = COALESCE(
                     (SELECT MAX(heartbeat) FROM attempts WHERE run_id = runs.id), started)
                 WHERE id = ?",
            )
            .bind(RunStatus::Interrupted.name())
            .bind(run.id)
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(ACTION))?;
            // A supervisor may end between the record of a worker's end and that of its stage's.
            for (found, becomes) in [
                (StageStatus::Pending, StageStatus::Skipped),
                (StageStatus::Running, StageStatus::Interrupted),
            ] {
                sqlx::query(
                    "UPDATE stages SET status = ?, ended = (SELECT ended FROM runs WHERE id = run_id)
                     WHERE run_id = ? AND status = ? AND NOT EXISTS (
                         SELECT 1 FROM attempts
                         WHERE attempts.run_id = stages.run_id AND attempts.stage = stages.name
                           AND attempts.ended IS NULL)",
                )
                .bind(becomes.name())
                .bind(run.id)
                .bind(found.name())
                .execute(&mut *transaction)
                .await
                .map_err(RegistryError::during(ACTION))?;
            }
        }
        commit(transaction, ACTION).await?;
        Ok(stale)
    }
}
