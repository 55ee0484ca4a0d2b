//! What a prepared data set, or a set of samples, holds.

use std::path::PathBuf;

use patchwork_dataset::ShardSet;
use patchwork_dataset::inspect::{Table, inspect, stats};
use patchwork_registry::ArtifactRow;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::DashboardError;
use crate::files;
use crate::home::Home;
use crate::patches::{Patches, Training, patches};

/// Runs that are named with a set.
pub(crate) const RUNS: i64 = 20;

/// What is shown of a set.
pub(crate) struct Data {
    /// Its artifact.
    pub(crate) artifact: ArtifactRow,
    /// The newest runs that made or used it.
    pub(crate) runs: Vec<String>,
    /// What it holds.
    pub(crate) tables: Vec<Table>,
    /// The patches that a training takes from it; none where none does.
    pub(crate) patches: Option<Patches>,
}

/// What the address of a page on data says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// The run whose patches are shown; without it the newest that trains on the set.
    pub(crate) run: String,
}

/// Reads the set's index, its list of rejected images, and where a training's patches lie.
pub(crate) async fn gather(
    home: &Home,
    fingerprint: &str,
    asked: &Asked,
) -> Result<Data, DashboardError> {
    let (artifact, folder) = set(home, fingerprint).await?;
    let runs = home.registry().await?.runs_with(fingerprint, RUNS).await?;
    let training = training(home, &artifact, &runs, asked).await?;
    let read = blocking(move || {
        let [_, sides, sizes, proportions, flat] = stats(&folder)?;
        let tables = inspect(&folder)?.into_iter();
        let tables = tables.chain([sides, sizes, proportions, flat]).collect();
        let patches = match training {
            Some(training) => Some(patches(&ShardSet::open(&folder)?, training)),
            None => None,
        };
        Ok((tables, patches))
    });
    let (tables, patches) = read.await?;
    Ok(Data {
        artifact,
        runs,
        tables,
        patches,
    })
}

/// The training whose patches are shown.
pub(crate) async fn training(
    home: &Home,
    artifact: &ArtifactRow,
    runs: &[String],
    asked: &Asked,
) -> Result<Option<Training>, DashboardError> {
    if artifact.kind != "prepare" {
        return Ok(None);
    }
    let registry = home.registry().await?;
    if !asked.run.is_empty() {
        let run = registry.run(&asked.run).await?;
        return Ok(Training::of(&run, &artifact.fingerprint));
    }
    for name in runs {
        let training = Training::of(&registry.run(name).await?, &artifact.fingerprint);
        if training.is_some() {
            return Ok(training);
        }
    }
    Ok(None)
}

/// The artifact of a set, and its folder.
///
/// # Errors
/// [`DashboardError::Absent`] for an artifact that holds no images, or is deleted.
pub(crate) async fn set(
    home: &Home,
    fingerprint: &str,
) -> Result<(ArtifactRow, PathBuf), DashboardError> {
    let (artifact, folder) = home.artifact(fingerprint).await?;
    let holds_images = matches!(artifact.kind.as_str(), "prepare" | "sample");
    if holds_images && files::manifest(&folder).is_some() {
        Ok((artifact, folder))
    } else {
        Err(DashboardError::Absent(format!("data set `{fingerprint}`")))
    }
}

/// Reads off the threads that answer.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, patchwork_dataset::DatasetError> + Send + 'static,
) -> Result<T, DashboardError> {
    let result = tokio::task::spawn_blocking(work).await;
    Ok(result.map_err(|_| DashboardError::Unfinished)??)
}

impl Data {
    /// As JSON: the artifact, its runs, the patches of a training, and each table as `patchwork dataset inspect --format json` has it.
    pub(crate) fn json(&self) -> Value {
        let tables: serde_json::Map<String, Value> = self
            .tables
            .iter()
            .map(|table| {
                let rows: Vec<Value> = table
                    .rows
                    .iter()
                    .map(|row| {
                        table
                            .columns
                            .iter()
                            .cloned()
                            .zip(row.iter().cloned())
                            .collect::<serde_json::Map<_, _>>()
                            .into()
                    })
                    .collect();
                (table.title.clone(), rows.into())
            })
            .collect();
        json!({ "artifact": self.artifact, "runs": self.runs, "tables": tables, "patches": self.patches })
    }
}
