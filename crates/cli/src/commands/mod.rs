//! One module a command.

mod checkpoint;
mod dataset;
mod doctor;
mod logs;
mod query;
mod run;
mod runs;
mod show;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command};
use crate::error::CliError;

/// Calls the command that was asked for.
pub(crate) async fn dispatch(arguments: &Arguments) -> Result<ExitCode, CliError> {
    match &arguments.command {
        Command::Run(run) => run::run(arguments, run).await,
        Command::Runs(list) => done(runs::runs(&arguments.home, list).await),
        Command::Show(show) => done(show::show(&arguments.home, show).await),
        Command::Logs(logs) => done(logs::logs(&arguments.home, logs).await),
        Command::Query(query) => done(query::query(&arguments.home, query).await),
        Command::Dataset(command) => done(dataset::dataset(command)),
        Command::Checkpoint(command) => done(checkpoint::checkpoint(command)),
        Command::Doctor => doctor::doctor(arguments).await,
    }
}

fn done(result: Result<(), CliError>) -> Result<ExitCode, CliError> {
    result.map(|()| ExitCode::SUCCESS)
}
