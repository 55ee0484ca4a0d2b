//! One module a command.

mod changes;
mod checkpoint;
mod compare;
mod dataset;
mod doctor;
mod expected;
mod explain;
mod gc;
mod help;
mod init;
mod logs;
mod notify;
mod query;
mod ranks;
mod recovery;
mod registry;
mod request;
mod retry;
mod run;
mod runs;
mod serve;
mod show;
mod signatures;
mod standalone;
mod status;
mod weights;
mod workplace;

use std::process::ExitCode;

use patchwork_supervisor::work_as_rank;

use crate::arguments::{Arguments, Command};
use crate::error::CliError;

/// Calls the command that was asked for.
pub(crate) async fn dispatch(arguments: &Arguments) -> Result<ExitCode, CliError> {
    match &arguments.command {
        Command::Init(init) => done(init::init(arguments, init)),
        Command::Run(run) => run::run(arguments, run).await,
        Command::Train(train) => standalone::train(arguments, train).await,
        Command::Sample(sample) => standalone::sample(arguments, sample).await,
        Command::Evaluate(evaluate) => standalone::evaluate(arguments, evaluate).await,
        Command::Retry(retry) => retry::retry(arguments, retry).await,
        Command::Explain(explain) => done(explain::explain_pipeline(arguments, explain).await),
        Command::Status(status) => done(status::status(&arguments.home, status).await),
        Command::Compare(compare) => done(compare::compare(&arguments.home, compare).await),
        Command::Gc(gc) => done(gc::collect_garbage(arguments, gc).await),
        Command::Runs(list) => done(runs::runs(&arguments.home, list).await),
        Command::Show(show) => done(show::show(&arguments.home, show).await),
        Command::Serve(serve) => done(serve::serve(&arguments.home, serve).await),
        Command::Report(report) => done(serve::report(&arguments.home, report).await),
        Command::Logs(logs) => done(logs::logs(&arguments.home, logs).await),
        Command::Query(query) => done(query::query(&arguments.home, query).await),
        Command::Dataset(command) => dataset::dataset(arguments, command).await,
        Command::Completions { shell } => done(help::completions(*shell)),
        Command::Man { folder } => done(help::man(folder)),
        Command::Registry(command) => done(registry::registry(&arguments.home, command).await),
        Command::Checkpoint(command) => done(checkpoint::checkpoint(command)),
        Command::Weights(command) => done(weights::weights(arguments, command)),
        Command::Rank { folder } => done(work_as_rank(folder).await.map_err(CliError::from)),
        Command::Doctor(doctor) => doctor::doctor(arguments, doctor).await,
    }
}

fn done(result: Result<(), CliError>) -> Result<ExitCode, CliError> {
    result.map(|()| ExitCode::SUCCESS)
}
