//! The program that computes: started by `patchwork`, one process a stage, and the only one that loads libtorch.
//!
//! Without arguments it does the job on its standard input; `probe` prints what libtorch finds, as JSON;
//! `checkpoint` and `measure` do the request on their standard input and print the answer, both JSON, a line each. In every
//! case it ends when its standard input does: nobody waits for it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use patchwork_artifacts::lifeline;
use serde_json::Value;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {
            patchwork_artifacts::worker::run(patchwork_recipes::check_format, patchwork_stages::run)
        }
        Some("probe") => answered(|_| patchwork_stages::probe()),
        Some("checkpoint") => answered(patchwork_stages::checkpoint::answer),
        Some("measure") => answered(patchwork_stages::measure::answer),
        Some(other) => {
            // Whoever typed this sees the exit code if there is no standard error.
            let _ = writeln!(
                io::stderr(),
                "error: `{other}` is not for a worker; use `patchwork {other}`"
            );
            ExitCode::from(2)
        }
    }
}

/// The answer to the request on standard input.
fn answered(answer: fn(&str) -> Value) -> ExitCode {
    match lifeline::read_request() {
        Ok(request) => {
            lifeline::watch(Duration::ZERO, || {});
            print(&answer(&request))
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn print(answer: &Value) -> ExitCode {
    match writeln!(io::stdout(), "{answer}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
