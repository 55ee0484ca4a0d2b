//! Which artifacts recorded runs need, and what the runs are worth: what `gc` asks.

use patchwork_artifacts::status::StageStatus;

use crate::database::Registry;
use crate::error::RegistryError;

/// A run and the fingerprints of its stages.
#[derive(Clone, Debug, PartialEq)]
pub struct RunNeeds {
    /// The run's name.
    pub run: String,
    /// Its pipeline's name.
    pub pipeline: String,
    /// Days since it ended; of a run that is not over, since it was last heard of.
    pub age_days: f64,
    /// Each stage's fingerprint, as it stands in the database, and where the stage stands.
    pub stages: Vec<(String, StageStatus)>,
}

/// The best score of a run.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct BestScore {
    /// The run's name.
    pub run: String,
    /// The metric that stands for the run, as in a listing of runs.
    pub metric: String,
    /// The lowest value of it among the run's trained networks: what stands for a run is a Fréchet distance.
    pub value: f64,
}

#[derive(sqlx::FromRow)]
struct Row {
    run: String,
    pipeline: String,
    age_days: f64,
    fingerprint: String,
    #[sqlx(try_from = "String")]
    status: StageStatus,
}

impl Registry {
    /// Every run with what its stages made or were to make, newest run first.
    pub async fn run_needs(&self) -> Result<Vec<RunNeeds>, RegistryError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT runs.name AS run, pipeline,
                    julianday('now') - julianday(COALESCE(
                        runs.ended,
                        (SELECT MAX(heartbeat) FROM attempts WHERE run_id = runs.id),
                        runs.started)) AS age_days,
                    fingerprint, stages.status
             FROM runs JOIN stages ON stages.run_id = runs.id
             ORDER BY runs.id DESC, position",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during("look up what runs need"))?;
        let mut runs: Vec<RunNeeds> = Vec::new();
        for row in rows {
            if runs.last().is_none_or(|run| run.run != row.run) {
                runs.push(RunNeeds {
                    run: row.run,
                    pipeline: row.pipeline,
                    age_days: row.age_days,
                    stages: Vec::new(),
                });
            }
            if let Some(run) = runs.last_mut() {
                run.stages.push((row.fingerprint, row.status));
            }
        }
        Ok(runs)
    }

    /// The best score of every run that has any.
    pub async fn best_scores(&self) -> Result<Vec<BestScore>, RegistryError> {
        sqlx::query_as(
            "SELECT run, metric,
                    (SELECT value FROM scores
                     WHERE run_id = run_summary.id AND scores.metric = run_summary.metric
                       AND images_seen IS NOT NULL
                     ORDER BY value * (1 - 2 * higher_is_better) LIMIT 1) AS value
             FROM run_summary WHERE metric IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during("look up the scores of runs"))
    }
}
