//! `patchwork dataset`: raw images to a data set, and a data set as tables, pictures and files of other programs.

mod export;
mod grid;
mod repair;
mod tables;
mod verify;

use std::process::ExitCode;

use super::standalone;
use crate::arguments::{Arguments, DatasetCommand};
use crate::error::CliError;

pub(crate) async fn dataset(
    arguments: &Arguments,
    command: &DatasetCommand,
) -> Result<ExitCode, CliError> {
    let result = match command {
        DatasetCommand::Build(build) => return standalone::build(arguments, build).await,
        DatasetCommand::Verify(verify) => return verify::verify(arguments, verify).await,
        DatasetCommand::Inspect(inspect) => tables::print_inspection(&arguments.home, inspect),
        DatasetCommand::Stats(choice) => tables::print_statistics(choice),
        DatasetCommand::Grid(grid) => grid::grid(grid),
        DatasetCommand::Export(export) => export::export(export),
    };
    result.map(|()| ExitCode::SUCCESS)
}
