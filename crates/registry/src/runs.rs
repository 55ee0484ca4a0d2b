//! Which runs there are.

use std::collections::BTreeSet;

use crate::database::Registry;
use crate::error::RegistryError;

impl Registry {
    /// The names of all runs.
    pub async fn run_names(&self) -> Result<BTreeSet<String>, RegistryError> {
        let names: Vec<String> = sqlx::query_scalar("SELECT name FROM runs")
            .fetch_all(&self.pool)
            .await
            .map_err(RegistryError::during("list the runs"))?;
        Ok(names.into_iter().collect())
    }
}
