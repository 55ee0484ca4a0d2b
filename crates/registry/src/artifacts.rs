//! Artifacts and what they were made from.

use crate::database::{Registry, commit};
use crate::error::RegistryError;
use crate::record::NewArtifact;

impl Registry {
    /// Records an artifact that was found finished at `time`, and its inputs. One that is there already stays as
    /// it is, since equal fingerprints mean equal bytes; one that was gone has its bytes again.
    pub async fn record_artifact(
        &self,
        artifact: &NewArtifact,
        time: &str,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record an artifact";
        let mut transaction = self.begin(ACTION).await?;
        let fingerprint = artifact.fingerprint.to_string();
        sqlx::query(
            "INSERT INTO artifacts (fingerprint, kind, path, bytes, recorded, summary)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
        )
        .bind(&fingerprint)
        .bind(&artifact.kind)
        .bind(&artifact.path)
        .bind(artifact.bytes as i64)
        .bind(time)
        .bind(&artifact.summary_json)
        .execute(&mut *transaction)
        .await
        .map_err(RegistryError::during(ACTION))?;
        for (role, input) in &artifact.inputs {
            sqlx::query(
                "INSERT INTO stage_inputs (fingerprint, role, input) VALUES (?, ?, ?)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&fingerprint)
            .bind(role)
            .bind(input.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(ACTION))?;
        }
        commit(transaction, ACTION).await
    }

    /// Records as 0 the bytes of artifacts that are gone. `is_there` is asked with an artifact's folder below the home
    /// folder.
    pub async fn mark_gone_artifacts(
        &self,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<(), RegistryError> {
        const ACTION: &str = "record which artifacts are gone";
        let mut transaction = self.begin(ACTION).await?;
        let mut gone: Vec<(String, String)> =
            sqlx::query_as("SELECT fingerprint, path FROM artifacts WHERE bytes > 0")
                .fetch_all(&mut *transaction)
                .await
                .map_err(RegistryError::during(ACTION))?;
        gone.retain(|(_, path)| !is_there(path));
        for (fingerprint, _) in &gone {
            sqlx::query("UPDATE artifacts SET bytes = 0 WHERE fingerprint = ?")
                .bind(fingerprint)
                .execute(&mut *transaction)
                .await
                .map_err(RegistryError::during(ACTION))?;
        }
        commit(transaction, ACTION).await
    }
}
