//! The `patchwork` program: parses its command line, calls one function, prints the result.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a stage failed or
//! something could not be read, 2 bad usage or configuration, 130 and 143 interrupted.

mod arguments;
mod commands;
mod error;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use error::CliError;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Worker) {
        return patchwork_pipeline::worker::run(patchwork_stages::run);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(source) => return report(&CliError::Runtime(source)),
    };
    match runtime.block_on(commands::dispatch(&arguments)) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn report(error: &CliError) -> ExitCode {
    output::error(error);
    error.exit_code()
}
