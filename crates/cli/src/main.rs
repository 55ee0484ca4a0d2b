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
mod streamed;
mod worker_program;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use error::CliError;

fn main() -> ExitCode {
    if let Err(error) = check_text() {
        return report(&error);
    }
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

/// Whether every argument, and what stands for one, is UTF-8: command lines and paths are recorded as text.
fn check_text() -> Result<(), CliError> {
    let variables = ["PATCHWORK_HOME", patchwork_weights::WEIGHTS_VARIABLE];
    let variables = variables.into_iter().filter_map(std::env::var_os);
    match std::env::args_os()
        .chain(variables)
        .find(|text| text.to_str().is_none())
    {
        Some(text) => Err(CliError::NotText {
            text: text.to_string_lossy().into_owned(),
        }),
        None => Ok(()),
    }
}

fn report(error: &CliError) -> ExitCode {
    output::error(error);
    error.exit_code()
}
