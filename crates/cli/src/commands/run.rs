//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::process::ExitCode;

use patchwork_config::{Pipeline, StageSettings, Variant};
use patchwork_pipeline::{Plan, Scope};
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
        if run.dry_run && print_missing(&variant.pipeline, run.format)? {
            continue;
        }
        if run.dry_run {
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

/// Where raw data is missing nothing can be looked up: says what to get, and what would wait for it.
fn print_missing(pipeline: &Pipeline, format: Format) -> Result<bool, CliError> {
    let mut rows = Rows::new(&["stage", "kind", "would be", "fingerprint"]);
    let mut missing = false;
    for stage in &pipeline.stages {
        let problem = match &stage.settings {
            StageSettings::Prepare(prepare) => patchwork_planner::source::missing(prepare),
            _ => None,
        };
        let state = match &problem {
            Some(_) => "missing its source",
            None => "run",
        };
        if let Some(problem) = problem {
            missing = true;
            remark(&format!("stage `{}`: {problem}", stage.name));
        }
        rows.push(vec![
            json!(stage.name),
            json!(stage.kind().to_string()),
            json!(state),
            json!(null),
        ]);
    }
    if missing {
        rows.print(format)?;
    }
    Ok(missing)
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
