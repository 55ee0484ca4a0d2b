//! From what happens to what the tables say: the one way in which runs come into a registry.
//!
//! A registry is a projection of its runs' records. A supervisor applies them as they come, `registry rebuild` applies
//! those of the past; what they leave is the same.

mod rows;

use std::ops::Range;

use patchwork_artifacts::event::{Artifact, Event, Record, RunStart};
use patchwork_artifacts::time::Timestamp;
use sqlx::Connection;

use self::rows::{enter, enter_artifact, start_run};
use crate::database::{Registry, commit};
use crate::error::RegistryError;

/// Records that the tables do not take, however often it is tried, and that were left out.
#[derive(Debug)]
pub struct Refusal {
    /// Which of those that were applied.
    pub records: Range<usize>,
    /// Why.
    pub cause: RegistryError,
}

impl Registry {
    /// Begins a run of a pipeline, now: finds its number, the next free one from `least_number` on, and enters `start` with
    /// the name that follows. Gives that name and the first of the run's records.
    pub async fn begin_run(
        &self,
        mut start: RunStart,
        least_number: i64,
    ) -> Result<(String, Record), RegistryError> {
        const ACTION: &str = "record a run";
        let mut transaction = self.begin(ACTION).await?;
        let number: i64 = sqlx::query_scalar(
            "SELECT MAX(?, COALESCE(MAX(number), 0) + 1) FROM runs WHERE pipeline = ?",
        )
        .bind(least_number)
        .bind(&start.pipeline)
        .fetch_one(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?;
        start.run = format!("{}-{number}", start.pipeline);
        let time = Timestamp::now();
        start_run(&mut transaction, &start, time).await?;
        commit(transaction, ACTION).await?;
        let name = start.run.clone();
        let first = Record {
            time,
            stage: None,
            attempt: None,
            event: Event::RunStarted(Box::new(start)),
        };
        Ok((name, first))
    }

    /// Applies records of a run, in order, in one write. What the tables do not take is left out, each record for itself,
    /// and given back.
    ///
    /// # Errors
    /// What may pass, such as a full disk; nothing is applied then.
    pub async fn apply(
        &self,
        run: &str,
        records: &[Record],
    ) -> Result<Vec<Refusal>, RegistryError> {
        const ACTION: &str = "record what happened";
        let mut refusals = Vec::new();
        let mut transaction = self.begin(ACTION).await?;
        let mut next = 0;
        while next < records.len() {
            let range = next..next + group(&records[next..]);
            next = range.end;
            let mut savepoint = transaction
                .begin()
                .await
                .map_err(RegistryError::during(ACTION))?;
            match enter(&mut savepoint, run, &records[range.clone()]).await {
                Ok(()) => savepoint.commit().await,
                Err(cause) if cause.is_refusal() => {
                    refusals.push(Refusal {
                        records: range,
                        cause,
                    });
                    savepoint.rollback().await
                }
                Err(error) => return Err(error),
            }
            .map_err(RegistryError::during(ACTION))?;
        }
        commit(transaction, ACTION).await?;
        Ok(refusals)
    }

    /// Records that the workers of a run are alive now.
    pub async fn heartbeat(&self, run: &str) -> Result<(), RegistryError> {
        const ACTION: &str = "record a heartbeat";
        let statement = sqlx::query(
            "UPDATE attempts SET heartbeat = ?
             WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND ended IS NULL",
        )
        .bind(Timestamp::now().to_string())
        .bind(run);
        self.write(ACTION, statement).await
    }

    /// Records an artifact that was found finished at `time`. One that is recorded already stays as it is, since equal
    /// fingerprints mean equal bytes; one that was gone has its bytes again.
    pub async fn record_artifact(
        &self,
        artifact: &Artifact,
        time: Timestamp,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record an artifact";
        let mut transaction = self.begin(ACTION).await?;
        enter_artifact(&mut transaction, artifact, time)
            .await
            .map_err(RegistryError::during(ACTION))?;
        commit(transaction, ACTION).await
    }
}

/// How many records are entered at once: measurements of a stage that follow each other, else one.
fn group(records: &[Record]) -> usize {
    let stage = &records[0].stage;
    let is_metric =
        |record: &&Record| matches!(record.event, Event::Metric { .. }) && record.stage == *stage;
    records.iter().take_while(is_metric).count().max(1)
}
