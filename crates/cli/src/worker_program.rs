//! The worker program beside this one, and whether it can start.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchwork_terms::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::CliError;

/// The libtorch that the worker is built against.
pub(crate) const LIBTORCH_VERSION: &str = "2.11.0";

/// The worker's file name, without the platform's ending for programs.
const NAME: &str = "patchwork-worker";

/// The file name of the program for prepare stages, which does without libtorch.
const PREPARE_NAME: &str = "patchwork-prepare";

/// What libtorch finds on this machine.
#[derive(Debug, Deserialize)]
pub(crate) struct Probe {
    pub(crate) sum_of_four_ones: f64,
    pub(crate) threads: u32,
    pub(crate) cuda_devices: u32,
    /// Whether this is libtorch's CUDA build, with a device or without.
    pub(crate) has_cuda_runtime: bool,
}

/// The worker's path: beside the running program.
pub(crate) fn path() -> Result<PathBuf, CliError> {
    let own = std::env::current_exe().map_err(CliError::Program)?;
    let path = own
        .with_file_name(NAME)
        .with_extension(std::env::consts::EXE_EXTENSION);
    if path.is_file() {
        Ok(path)
    } else {
        Err(CliError::NoWorker { path })
    }
}

/// The programs of kinds of stages that have one of their own, beside the running program; where one is missing, the
/// worker does its stages too.
pub(crate) fn own_programs() -> Result<BTreeMap<String, PathBuf>, CliError> {
    let own = std::env::current_exe().map_err(CliError::Program)?;
    let path = own
        .with_file_name(PREPARE_NAME)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let kind = Kind::Prepare.to_string();
    Ok(path.is_file().then_some((kind, path)).into_iter().collect())
}

/// Starts the worker once, so that what keeps it from starting is reported before any stage is tried.
pub(crate) fn probe(worker: &Path) -> Result<Probe, CliError> {
    ask(worker, "probe", "")
}

/// What the worker answers to a request, a line on its standard input. The worker ends with this process.
pub(crate) fn ask<T: DeserializeOwned>(
    worker: &Path,
    argument: &str,
    request: &str,
) -> Result<T, CliError> {
    let refused = |cause: String| CliError::WorkerStart {
        path: worker.to_owned(),
        cause,
        libtorch: LIBTORCH_VERSION,
    };
    let mut child = Command::new(worker)
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| refused(error.to_string()))?;
    // Held until the answer is there: the worker ends when it closes.
    let mut lifeline = child.stdin.take();
    if let Some(input) = &mut lifeline {
        // A worker that ended before it read says why by its standard error and its exit.
        let _ = writeln!(input, "{request}");
    }
    let output = child
        .wait_with_output()
        .map_err(|error| refused(error.to_string()))?;
    drop(lifeline);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // The dynamic loader prefixes the program's path, which the message names already.
        let said = said.trim().lines().last().unwrap_or_default();
        let said = said
            .strip_prefix(&format!("{}: ", worker.display()))
            .unwrap_or(said);
        return Err(refused(if said.is_empty() {
            output.status.to_string()
        } else {
            said.to_owned()
        }));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| refused(error.to_string()))
}

/// A part of an answer; a worker of another version may say something else.
pub(crate) fn understood<T: DeserializeOwned>(answer: Value) -> Result<T, CliError> {
    let path = path()?;
    serde_json::from_value(answer).map_err(|error| CliError::WorkerStart {
        path,
        cause: error.to_string(),
        libtorch: LIBTORCH_VERSION,
    })
}
