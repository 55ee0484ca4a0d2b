//! `patchwork run`: a pipeline from its file to its last artifact.

use std::process::ExitCode;

use patchwork_pipeline::{Plan, Scope};
use serde_json::json;

use super::request::Request;
use crate::arguments::{Arguments, Format, PipelineArguments, RunArguments};
use crate::error::CliError;
use crate::output::Rows;

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let pipeline = patchwork_config::load(&run.pipeline.file, &run.pipeline.set)?;
    let request = Request {
        pipeline: &pipeline,
        scope: scope(&run.pipeline),
        force: &run.force,
        jobs: run.jobs.into(),
        rehash: run.pipeline.rehash,
    };
    if run.dry_run {
        let planned = request.plan(arguments)?;
        print_plan(&planned.plan, &run.force, run.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    request.carry_out(arguments, run.format).await
}

/// Which stages the command line asks for.
pub(crate) fn scope(arguments: &PipelineArguments) -> Scope<'_> {
    match (&arguments.only, &arguments.until) {
        (Some(stage), _) => Scope::Only(stage),
        (None, Some(stage)) => Scope::Until(stage),
        (None, None) => Scope::All,
    }
}

fn print_plan(plan: &Plan, force: &[String], format: Format) -> Result<(), CliError> {
    let mut rows = Rows::new(&["stage", "kind", "would be", "fingerprint"]);
    for stage in &plan.stages {
        let forced = force.contains(&stage.spec.name);
        rows.push(vec![
            json!(stage.spec.name),
            json!(stage.spec.kind),
            json!(if stage.cached.is_some() && !forced {
                "cached"
            } else {
                "run"
            }),
            json!(stage.fingerprint),
        ]);
    }
    rows.print(format)
}
