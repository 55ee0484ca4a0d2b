//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::process::ExitCode;

use patchwork_config::Variant;
use patchwork_pipeline::{Plan, Scope};
use patchwork_planner::missing::missing;
use patchwork_weights::weights_folder;
use serde_json::json;

use super::request::{Request, exit_code};
use crate::arguments::{Arguments, Format, PipelineArguments, RunArguments};
use crate::error::{CliError, EXIT_FAILED};
use crate::output::{Rows, remark};

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let variants = patchwork_config::load(&run.pipeline.file, &run.pipeline.set)?;
    let mut failed = 0;
    for (number, variant) in variants.iter().enumerate() {
        if variants.len() > 1 {
            remark(&headline(number, variants.len(), variant));
        }
        let request = Request {
            pipeline: &variant.pipeline,
            scope: scope(&run.pipeline),
            force: &run.force,
            jobs: run.jobs.map(usize::from),
            rehash: run.pipeline.rehash && number == 0,
        };
        if run.dry_run {
            request.check_names()?;
            if print_missing(arguments, &request, run.format)? {
                continue;
            }
            print_plan(&request.plan(arguments)?.plan, &run.force, run.format)?;
            continue;
        }
        let outcome = request.carry_out(arguments, run.format).await?;
        match outcome.signal {
            // Asked to stop, the whole matrix stops.
            Some(_) => return Ok(exit_code(&outcome)),
            None if variants.len() == 1 => return Ok(exit_code(&outcome)),
            None => failed += usize::from(!outcome.is_success()),
        }
    }
    if failed > 0 {
        remark(&format!(
            "{failed} of {} combinations did not finish",
            variants.len()
        ));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    Ok(ExitCode::SUCCESS)
}

fn headline(number: usize, count: usize, variant: &Variant) -> String {
    let values: Vec<String> = variant
        .values
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    format!(
        "combination {} of {count}: {}",
        number + 1,
        values.join(", ")
    )
}

/// Which stages the command line asks for.
pub(crate) fn scope(arguments: &PipelineArguments) -> Scope<'_> {
    match (&arguments.only, &arguments.until) {
        (Some(stage), _) => Scope::Only(stage),
        (None, Some(stage)) => Scope::Until(stage),
        (None, None) => Scope::All,
    }
}

/// Where raw data or weights are missing nothing can be looked up: says what to get, and what would wait for it.
fn print_missing(
    arguments: &Arguments,
    request: &Request<'_>,
    format: Format,
) -> Result<bool, CliError> {
    let stages = request.pipeline.needed(request.scope.last());
    let missing = missing(&stages, &weights_folder(arguments.weights.clone()));
    if missing.is_empty() {
        return Ok(false);
    }
    for missing in &missing {
        remark(&format!("stage `{}`: {}", missing.stage, missing.problem));
    }
    let mut rows = Rows::new(&["stage", "kind", "would be", "fingerprint"]);
    for stage in stages {
        let lacks = missing.iter().find(|missing| missing.stage == stage.name);
        rows.push(vec![
            json!(stage.name),
            json!(stage.kind().to_string()),
            json!(lacks.map_or("run".to_owned(), |lacks| format!(
                "missing its {}",
                lacks.what
            ))),
            json!(null),
        ]);
    }
    rows.print(format)?;
    Ok(true)
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
