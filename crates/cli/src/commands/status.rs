//! `patchwork status`: the progress of runs.

use std::path::Path;

use patchwork_artifacts::Store;
use patchwork_artifacts::status::{RunStatus, StageStatus};
use patchwork_registry::{Registry, RunDetail};
use serde_json::{Value, json};

use crate::arguments::{Format, StatusArguments};
use crate::error::CliError;
use crate::output::{Rows, duration, moment};

pub(crate) async fn status(home: &Path, arguments: &StatusArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let store = Store::open(home)?;
    let mut rows = Rows::new(&[
        "run",
        "stage",
        "status",
        "attempts",
        "time",
        "last seen",
        "latest",
    ]);
    for run in selected(&registry, arguments.run.as_deref()).await? {
        add(
            &mut rows,
            &store,
            &registry.run(&run).await?,
            arguments.format,
        );
    }
    rows.print(arguments.format)
}

async fn selected(registry: &Registry, run: Option<&str>) -> Result<Vec<String>, CliError> {
    if let Some(run) = run {
        return Ok(vec![run.to_owned()]);
    }
    let runs = registry.runs(usize::MAX).await?;
    let at_work: Vec<String> = runs
        .iter()
        .filter(|run| run.status == RunStatus::Running)
        .map(|run| run.name.clone())
        .collect();
    Ok(if at_work.is_empty() {
        runs.into_iter().take(1).map(|run| run.name).collect()
    } else {
        at_work
    })
}

fn add(rows: &mut Rows, store: &Store, run: &RunDetail, format: Format) {
    for stage in &run.stages {
        let attempts = || {
            run.attempts
                .iter()
                .filter(|attempt| attempt.stage == stage.name)
        };
        let last = attempts().next_back();
        // A worker that crashed is recorded as interrupted at the next start of a run.
        let gone = stage.status == StageStatus::Running
            && last.is_some_and(|attempt| {
                attempt.ended.is_none()
                    && u32::try_from(attempt.pid).is_ok_and(|pid| !store.is_alive(pid))
            });
        let status = if gone {
            "gone".to_owned()
        } else {
            stage.status.to_string()
        };
        let latest: Vec<String> = run
            .metrics
            .iter()
            .filter(|series| series.stage == stage.name)
            .filter(|series| ["loss", "images_per_second"].contains(&series.name.as_str()))
            .filter_map(|series| {
                let value = series.last?;
                Some(format!(
                    "{} {value:.4} at {}",
                    series.name, series.last_step
                ))
            })
            .collect();
        rows.push(vec![
            json!(run.run.name),
            json!(stage.name),
            json!(status),
            json!(attempts().count()),
            duration(stage.seconds, format),
            last.map_or(Value::Null, |attempt| {
                moment(attempt.ended.as_ref().unwrap_or(&attempt.heartbeat), format)
            }),
            json!(latest.join(", ")),
        ]);
    }
}
