//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::process::ExitCode;

use patchwork_config::Variant;
use patchwork_pipeline::{Plan, Scope};
use patchwork_planner::missing::missing;
use patchwork_weights::weights_folder;
use serde_json::json;

use super::request::{Request, exit_code};
use crate::arguments::{Arguments, PipelineArguments, RunArguments};
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED};
use crate::output::{Report, Rows, remark};

/// The columns of `--dry-run`.
const DRY_RUN: [&str; 4] = ["stage", "kind", "would be", "fingerprint"];

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let variants = patchwork_config::load(&run.pipeline.file, &run.pipeline.set)?;
    let mut report = Report::new(run.format);
    let result = run_all(arguments, run, &variants, &mut report).await;
    // What was done is told whatever came after it.
    report.finish()?;
    result
}

/// One combination after another.
async fn run_all(
    arguments: &Arguments,
    run: &RunArguments,
    variants: &[Variant],
    report: &mut Report,
) -> Result<ExitCode, CliError> {
    let (mut failed, mut paused) = (0, 0);
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
            let rows = match missing_rows(arguments, &request) {
                Some(rows) => rows,
                None => plan_rows(&request.plan(arguments)?.plan, &run.force),
            };
            report.add(rows)?;
            continue;
        }
        let outcome = request.carry_out(arguments, report).await?;
        // Asked to stop, the whole matrix stops.
        if outcome.signal.is_some() || variants.len() == 1 {
            return Ok(exit_code(&outcome));
        }
        if outcome.is_paused() {
            paused += 1;
        } else if !outcome.is_success() {
            failed += 1;
        }
    }
    let all = variants.len();
    if paused > 0 {
        remark(&format!(
            "{paused} of {all} combinations stopped at a limit; the same command goes on with them"
        ));
    }
    if failed > 0 {
        remark(&format!("{failed} of {all} combinations failed"));
    }
    Ok(match (failed, paused) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(EXIT_PAUSED),
        _ => ExitCode::from(EXIT_FAILED),
    })
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
fn missing_rows(arguments: &Arguments, request: &Request<'_>) -> Option<Rows> {
    let stages = request.pipeline.needed(request.scope.last());
    let missing = missing(&stages, &weights_folder(arguments.weights.clone()));
    if missing.is_empty() {
        return None;
    }
    for missing in &missing {
        remark(&format!("stage `{}`: {}", missing.stage, missing.problem));
    }
    let mut rows = Rows::new(&DRY_RUN);
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
    Some(rows)
}

fn plan_rows(plan: &Plan, force: &[String]) -> Rows {
    let mut rows = Rows::new(&DRY_RUN);
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
    rows
}
