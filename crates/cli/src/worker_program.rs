//! The worker program beside this one, and whether it can start.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    /// A cold file server may take minutes to hand out libtorch with CUDA.
    const LIMIT: Duration = Duration::from_mins(5);
    ask_within(worker, "probe", "", Some(LIMIT))
}

/// What the worker answers to a request, a line on its standard input. The worker ends with this process.
pub(crate) fn ask<T: DeserializeOwned>(
    worker: &Path,
    argument: &str,
    request: &str,
) -> Result<T, CliError> {
    ask_within(worker, argument, request, None)
}

/// The same, from a worker that is killed when it takes longer than `limit`.
fn ask_within<T: DeserializeOwned>(
    worker: &Path,
    argument: &str,
    request: &str,
    limit: Option<Duration>,
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
    let output = match limit {
        None => child.wait_with_output(),
        Some(limit) => output_within(child, limit),
    };
    drop(lifeline);
    let output = output.map_err(|error| match limit {
        Some(limit) if error.kind() == ErrorKind::TimedOut => CliError::WorkerHangs {
            path: worker.to_owned(),
            limit,
        },
        _ => refused(error.to_string()),
    })?;
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

/// What a process prints until it ends.
///
/// # Errors
/// [`ErrorKind::TimedOut`] for one that is killed because it took longer; one that cannot be killed is not waited for.
fn output_within(mut child: Child, limit: Duration) -> std::io::Result<Output> {
    const PAUSE: Duration = Duration::from_millis(2);
    let begin = Instant::now();
    let (printed, said) = (
        read_to_end(child.stdout.take()),
        read_to_end(child.stderr.take()),
    );
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begin.elapsed() > limit {
            child.kill()?;
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(PAUSE);
    };
    let read = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Output {
        status,
        stdout: read(printed),
        stderr: read(said),
    })
}

/// Reads on a thread of its own, so that a full pipe holds nobody up.
fn read_to_end(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What is missing is missed by whoever reads the answer.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_worker_that_hangs_at_its_start_is_killed_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = |text: &str| {
            let path = folder.path().join("worker");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let begin = Instant::now();
        let limit = Duration::from_millis(500);
        let ask = |worker: &Path| ask_within::<Value>(worker, "probe", "", Some(limit));
        let error = ask(&program("exec sleep 60")).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(
            matches!(&error, CliError::WorkerHangs { path, .. } if path.ends_with("worker")),
            "{error}"
        );
        // An answer that fills more than a pipe.
        let long = "printf '\"'; head -c 300000 /dev/zero | tr '\\0' x; printf '\"'";
        let answer = ask(&program(long)).unwrap();
        assert_eq!(answer.as_str().map(str::len), Some(300_000));
    }
}
