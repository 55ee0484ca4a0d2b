//! The `patchwork` program: parses its command line, calls one function, prints the result.
//!
//! It does not link libtorch: what computes runs in `patchwork-worker`, the program beside it. So a command
//! answers at once, and a libtorch that is missing or broken is an error with a remedy, not a program that
//! does not start.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 a stage failed or
//! something could not be read, 2 bad usage or configuration, 130 and 143 interrupted.

mod arguments;
mod commands;
mod console;
mod error;
mod gpu;
mod output;
mod printer;
mod progress;
mod worker_program;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use error::CliError;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
