//! `patchwork doctor --ranks`, `--launch`: whether processes can train together, and how fast they exchange numbers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchwork_core::durable;
use patchwork_recipes::{Execution, GroupProbe, GroupProbed};
use patchwork_supervisor::carry_out;
use serde_json::Value;

use crate::arguments::DoctorArguments;
use crate::worker_program;

/// Longer than any start of a job that is not queued.
const TIMEOUT: Duration = Duration::from_mins(10);

/// How long ranks wait for each other.
const COLLECTIVE_TIMEOUT_MINUTES: f64 = 2.0;

/// A folder that all ranks see, gone with this.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tries a group; what was found, or what is wrong and how to fix it.
pub(crate) async fn check(home: &Path, asked: &DoctorArguments) -> Result<String, String> {
    let execution = Execution {
        ranks: asked.ranks.unwrap_or(1),
        launch: asked.launch.clone(),
        device: asked.device.clone(),
        threads: Some(1),
        collective_timeout_minutes: COLLECTIVE_TIMEOUT_MINUTES,
        ..Execution::default()
    };
    let worker = worker_program::path().map_err(|error| error.to_string())?;
    let folder = std::path::absolute(home.join(format!(".doctor-{}", std::process::id())));
    let folder = Folder(folder.map_err(|error| error.to_string())?);
    durable::create_dir_all(&folder.0).map_err(|error| error.to_string())?;
    let probe = GroupProbe {
        parameters: asked.parameters,
    };
    let job = probe.job(&execution, &folder.0);
    let log = folder.0.join("log.txt");
    match carry_out(&worker, &job, &log, TIMEOUT).await {
        Ok(Ok(outcome)) => serde_json::from_value(Value::Object(outcome.summary))
            .map(|found: GroupProbed| words(&found, asked))
            .map_err(|error| error.to_string()),
        Ok(Err(causes)) => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Err(with_log(&causes.join(": "), &said))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What failed, with the last of what the processes and their launcher printed.
fn with_log(problem: &str, said: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("; ");
    if last.is_empty() {
        problem.to_owned()
    } else {
        format!("{problem}; they said: {last}")
    }
}

fn words(found: &GroupProbed, asked: &DoctorArguments) -> String {
    let distinct = |texts: &[String]| {
        let texts: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        texts.into_iter().collect::<Vec<_>>().join(", ")
    };
    let engine = if asked.device == "cpu" {
        "Gloo"
    } else {
        "NCCL"
    };
    let interfaces = distinct(&found.interfaces);
    format!(
        "{} ranks on {}, {engine} by {}: one number in {:.2} ms, {} parameters ({:.0} MB) in {:.0} ms, {:.2} GB/s",
        found.machines.len(),
        distinct(&found.machines),
        if interfaces.is_empty() {
            "no network"
        } else {
            &interfaces
        },
        found.latency_seconds * 1e3,
        asked.parameters,
        found.bytes as f64 / 1e6,
        found.seconds * 1e3,
        found.bytes as f64 / found.seconds / 1e9,
    )
}
