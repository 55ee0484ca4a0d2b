//! `--notify COMMAND`: a command of the user's own that is run when a run is over.
//!
//! Variables of its environment say what became of the run. Whatever it does, the run and its exit code stay as they are.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use patchwork_artifacts::StageStatus;
use patchwork_registry::Registry;
use patchwork_supervisor::RunOutcome;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::console::Console;
use crate::error::CliError;

/// How long the command may take, unless the environment says otherwise.
const SECONDS: u64 = 30;

/// The variable that says how long the command may take.
const SECONDS_VARIABLE: &str = "PATCHWORK_NOTIFY_SECONDS";

/// The variables of the command.
struct News {
    run: String,
    status: &'static str,
    /// The metric and the value of the run's score.
    score: Option<(String, f64)>,
    /// The first error.
    error: String,
}

/// Runs `command` with what became of a run of `pipeline`.
pub(crate) async fn notify(
    command: &str,
    home: &Path,
    pipeline: &str,
    end: &Result<RunOutcome, CliError>,
    console: &Console,
) {
    let news = match end {
        Ok(outcome) => News {
            run: outcome.run.clone(),
            status: status(outcome),
            score: score(home, &outcome.run).await,
            error: first_error(outcome),
        },
        Err(error) => News {
            run: pipeline.to_owned(),
            status: StageStatus::Failed.name(),
            score: None,
            error: error.to_string(),
        },
    };
    if let Some(problem) = carry_out(command, home, &news).await {
        console.remark(format!(
            "warning: the command of `--notify` {problem}; the run is as it is recorded"
        ));
    }
}

/// Runs the command; gives what went wrong.
async fn carry_out(command: &str, home: &Path, news: &News) -> Option<String> {
    // What it prints is not a result of this program.
    let stdout = match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => Stdio::from(stderr),
        Err(_) => Stdio::null(),
    };
    let (metric, value) = match &news.score {
        Some((metric, value)) => (metric.clone(), value.to_string()),
        None => (String::new(), String::new()),
    };
    let spawned = Command::new("sh")
        .args(["-c", command])
        .env("PATCHWORK_RUN", &news.run)
        .env("PATCHWORK_STATUS", news.status)
        .env("PATCHWORK_METRIC", metric)
        .env("PATCHWORK_SCORE", value)
        .env("PATCHWORK_ERROR", &news.error)
        .env("PATCHWORK_HOME", home)
        .stdin(Stdio::null())
        .stdout(stdout)
        // So that what it has started ends with it.
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Some(format!("does not start: {error}")),
    };
    let seconds = allowed_seconds();
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match tokio::time::timeout(Duration::from_secs(seconds), child.wait()).await {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("failed: {status}")),
        Ok(Err(error)) => Some(format!("cannot be waited for: {error}")),
        Err(_) => {
            if let Some(group) = group {
                // It may have ended just now.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Some(format!("took more than {seconds} s and was ended"))
        }
    }
}

fn allowed_seconds() -> u64 {
    let typed = std::env::var(SECONDS_VARIABLE).ok();
    let typed = typed.and_then(|text| text.parse().ok());
    typed.filter(|seconds| *seconds > 0).unwrap_or(SECONDS)
}

fn status(outcome: &RunOutcome) -> &'static str {
    let has = |status| outcome.stages.iter().any(|stage| stage.status == status);
    if outcome.is_success() {
        StageStatus::Succeeded.name()
    } else if has(StageStatus::Failed) {
        StageStatus::Failed.name()
    } else {
        StageStatus::Interrupted.name()
    }
}

fn first_error(outcome: &RunOutcome) -> String {
    let mut errors = outcome
        .stages
        .iter()
        .filter(|stage| !stage.error.is_empty());
    errors
        .next()
        .map_or_else(String::new, |stage| stage.error.join(": "))
}

/// The score that `patchwork runs` lists.
async fn score(home: &Path, run: &str) -> Option<(String, f64)> {
    let registry = Registry::open_read_only(&home.join("registry.db"))
        .await
        .ok()?;
    let detail = registry.run(run).await;
    registry.close().await;
    let row = detail.ok()?.run;
    Some((row.metric?, row.value?))
}
