//! `patchwork registry`: care of the registry itself.

use std::path::Path;

use patchwork_artifacts::{Store, Timestamp};
use patchwork_core::durable;
use patchwork_registry::Registry;
use patchwork_supervisor::rebuild::{rebuild, replace_registry};

use crate::arguments::RegistryCommand;
use crate::error::CliError;
use crate::output::line;

pub(crate) async fn registry(home: &Path, command: &RegistryCommand) -> Result<(), CliError> {
    match command {
        RegistryCommand::Rebuild => rebuild_registry(home).await,
    }
}

async fn rebuild_registry(home: &Path) -> Result<(), CliError> {
    let store = Store::open(home)?;
    let _planning = store.lock_planning()?;
    if let Some(pid) = store.process_at_work()? {
        return Err(CliError::AtWork { pid });
    }
    let path = home.join("registry-rebuilt.db");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        durable::remove_file(&home.join(format!("registry-rebuilt.db{suffix}")))?;
    }
    let registry = Registry::open(&path).await?;
    let rebuilt = rebuild(&store, &registry).await?;
    registry.close().await;
    durable::remove_file(&home.join("registry-rebuilt.db.lock"))?;
    let time = Timestamp::now().to_string().replace([':', '.'], "-");
    replace_registry(&store, &path, &time)?;
    line(&format!(
        "{} runs, {} points of series, {} artifacts; the previous registry is kept as registry-{time}.db",
        rebuilt.runs.len(),
        rebuilt.points,
        rebuilt.artifacts
    ))?;
    for left_out in &rebuilt.left_out {
        line(&format!(
            "skipped: `{}`: {}",
            left_out.path.display(),
            left_out.problem
        ))?;
    }
    Ok(())
}
