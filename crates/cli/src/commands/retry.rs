//! `patchwork retry`: what failed or was interrupted in a run, and what waits on it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_config::{Pipeline, StageSettings};
use patchwork_pipeline::Scope;
use patchwork_registry::Registry;

use super::request::{Request, exit_code};
use crate::arguments::{Arguments, RetryArguments};
use crate::error::CliError;
use crate::output::Report;

/// Carries out the run's own pipeline again, as it was resolved then, not as its file may read by now: what
/// finished is cached.
pub(crate) async fn retry(
    arguments: &Arguments,
    retry: &RetryArguments,
) -> Result<ExitCode, CliError> {
    let registry = Registry::open_read_only(&arguments.home.join("registry.db")).await?;
    let run = registry.run(&retry.run).await?;
    registry.close().await;
    if run.stages.iter().all(|stage| stage.status.is_done()) {
        return Err(CliError::NothingToRetry {
            run: run.run.name.clone(),
        });
    }
    let mut pipeline: Pipeline =
        serde_json::from_str(&run.definition).map_err(|source| CliError::Definition {
            run: run.run.name.clone(),
            source,
        })?;
    // A run may have been about some of the pipeline's stages only.
    pipeline.stages.retain(|stage| {
        run.stages
            .iter()
            .any(|recorded| recorded.name == stage.name)
    });
    sources_below(&mut pipeline, Path::new(&run.working_folder));
    let request = Request {
        pipeline: &pipeline,
        scope: Scope::All,
        force: &[],
        jobs: retry.jobs.map(usize::from),
        rehash: false,
    };
    let mut report = Report::new(retry.format);
    let outcome = request.carry_out(arguments, &mut report).await?;
    report.finish()?;
    Ok(exit_code(&outcome))
}

/// Relative paths of raw data mean the folder in which the run was started.
fn sources_below(pipeline: &mut Pipeline, folder: &Path) {
    if std::env::current_dir().is_ok_and(|current| current == folder) {
        return;
    }
    for stage in &mut pipeline.stages {
        if let StageSettings::Prepare(prepare) = &mut stage.settings
            && prepare.emoji.is_none()
        {
            let path: PathBuf = folder.join(&prepare.source);
            prepare.source = path.to_string_lossy().into_owned();
        }
    }
}
