//! `patchwork logs`: what the workers of a run printed.

use std::path::Path;

use patchwork_core::file_error;
use patchwork_registry::Registry;

use crate::arguments::LogsArguments;
use crate::error::CliError;
use crate::output::line;

pub(crate) async fn logs(home: &Path, arguments: &LogsArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let detail = registry.run(&arguments.run).await?;
    let folder = home.join("logs").join(&detail.run.name);
    let stages: Vec<&str> = match &arguments.stage {
        Some(stage) => vec![stage],
        None => detail
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect(),
    };
    for stage in stages {
        let path = folder.join(format!("{stage}.log"));
        if path.is_file() {
            if arguments.stage.is_none() {
                line(&format!("== {stage}"))?;
            }
            line(file_error::read_to_string(&path)?.trim_end())?;
        } else if arguments.stage.is_some() {
            return Err(CliError::NoLog(path.display().to_string()));
        }
    }
    Ok(())
}
