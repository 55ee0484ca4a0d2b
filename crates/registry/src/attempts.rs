//! Attempts at stages: started, alive, ended.
//!
//! What is recorded may have happened before: its time is told, as [`now`] gives it.

use crate::clock::now;
use crate::database::{Registry, commit};
use crate::error::RegistryError;
use crate::record::AttemptEnd;
use crate::status::StageStatus;

impl Registry {
    /// Records that the worker `pid` started on a stage at `time`, which is then running. `number` counts a
    /// stage's attempts within the run, from 1.
    pub async fn start_attempt(
        &self,
        run_id: i64,
        stage: &str,
        number: u32,
        pid: u32,
        time: &str,
    ) -> Result<i64, RegistryError> {
        const ACTION: &str = "record an attempt";
        let mut transaction = self.begin(ACTION).await?;
        let changed = sqlx::query(
            "UPDATE stages SET status = ?, started = COALESCE(started, ?), ended = NULL
             WHERE run_id = ? AND name = ?",
        )
        .bind(StageStatus::Running)
        .bind(time)
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
        let id = sqlx::query(
            "INSERT INTO attempts (run_id, stage, number, pid, host, started, heartbeat)
             SELECT id, ?, ?, ?, host, ?, ? FROM runs WHERE id = ?",
        )
        .bind(stage)
        .bind(number)
        .bind(pid)
        .bind(time)
        .bind(time)
        .bind(run_id)
        .execute(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?
        .last_insert_rowid();
        commit(transaction, ACTION).await?;
        Ok(id)
    }

    /// Records that the worker of an attempt is alive now.
    pub async fn heartbeat(&self, attempt_id: i64) -> Result<(), RegistryError> {
        const ACTION: &str = "record a heartbeat";
        let statement =
            sqlx::query("UPDATE attempts SET heartbeat = ? WHERE id = ? AND ended IS NULL")
                .bind(now())
                .bind(attempt_id);
        self.write(ACTION, statement).await
    }

    /// Records what an attempt has taken of the machine so far: processor time of all its threads, and the most
    /// memory that was resident at once.
    pub async fn record_resources(
        &self,
        attempt_id: i64,
        cpu_seconds: f64,
        peak_memory_bytes: u64,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record what an attempt takes";
        let statement =
            sqlx::query("UPDATE attempts SET cpu_seconds = ?, peak_memory_bytes = ? WHERE id = ?")
                .bind(cpu_seconds)
                .bind(i64::try_from(peak_memory_bytes).unwrap_or(i64::MAX))
                .bind(attempt_id);
        self.write(ACTION, statement).await
    }

    /// Records how an attempt ended. What that means for its stage is for
    /// [`Registry::set_stage`].
    pub async fn end_attempt(
        &self,
        attempt_id: i64,
        end: &AttemptEnd,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record an attempt's end";
        let statement = sqlx::query(
            "UPDATE attempts SET ended = ?1, heartbeat = ?1, exit = ?2, error = ?3 WHERE id = ?4",
        )
        .bind(&end.time)
        .bind(&end.exit)
        .bind(&end.error)
        .bind(attempt_id);
        self.write(ACTION, statement).await
    }
}
