//! Artifacts that are gone.

use crate::database::{Registry, commit};
use crate::error::RegistryError;

impl Registry {
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
