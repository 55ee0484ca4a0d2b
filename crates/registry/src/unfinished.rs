//! Work that was begun and never finished: what `retry` asks.

use patchwork_artifacts::status::RunStatus;

use crate::database::Registry;
use crate::error::RegistryError;

/// A run with stages that nothing has finished.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UnfinishedRun {
    /// The run's name.
    pub run: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub status: RunStatus,
}

impl Registry {
    /// The runs that can be resumed, newest first: each has a stage whose artifact neither it nor any other run
    /// made, and that no later run took up. Runs at work are left out.
    pub async fn unfinished_runs(&self) -> Result<Vec<UnfinishedRun>, RegistryError> {
        sqlx::query_as(
            "SELECT name AS run, status FROM runs
             WHERE status <> 'running' AND EXISTS (
                 SELECT 1 FROM stages
                 WHERE run_id = runs.id AND stages.status NOT IN ('cached', 'succeeded')
                   AND NOT EXISTS (
                       SELECT 1 FROM stages AS others
                       WHERE others.fingerprint = stages.fingerprint
                         AND (others.status IN ('cached', 'succeeded') OR others.run_id > stages.run_id)))
             ORDER BY id DESC",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during("look up unfinished runs"))
    }
}
