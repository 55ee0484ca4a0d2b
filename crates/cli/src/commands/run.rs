//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::path::Path;
use std::process::ExitCode;

use patchwork_config::{Kind, Variant};
use patchwork_pipeline::{PipelineError, Plan, Scope};
use serde_json::json;

use super::request::{Request, exit_code};
use crate::arguments::{Arguments, PipelineArguments, RunArguments};
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED};
use crate::gpu::has_nvidia_gpu;
use crate::output::{Report, Rows, remark};

/// The columns of `--dry-run`.
const DRY_RUN: [&str; 4] = ["stage", "kind", "would be", "fingerprint"];

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let variants = patchwork_config::load(&run.pipeline.file, &run.overrides())?;
    if has_nvidia_gpu(Path::new("/")) && computes_on_cpu_alone(&variants, scope(&run.pipeline)) {
        remark(
            "warning: this machine has an NVIDIA GPU, and all that this run computes it computes on the CPU; \
             `--device cuda:0` gives the GPU to the stages",
        );
    }
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
            report.add(dry_run(arguments, &request)?)?;
            continue;
        }
        if !run.force.is_empty() {
            // What is done again is given up first: what it is made of has to be there.
            plan(arguments, &request)?;
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

/// Whether stages of the run compute, and each of them on the CPU.
fn computes_on_cpu_alone(variants: &[Variant], scope: Scope<'_>) -> bool {
    let mut devices = variants
        .iter()
        .flat_map(|variant| variant.pipeline.needed(scope.last()))
        .filter(|stage| stage.kind() != Kind::Prepare)
        .filter(|stage| !matches!(scope, Scope::Only(only) if stage.name != only))
        .map(|stage| stage.execution.device.as_str())
        .peekable();
    devices.peek().is_some() && devices.all(|device| device == "cpu")
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

/// The plan in which the stages of `--force` are not done.
fn plan(arguments: &Arguments, request: &Request<'_>) -> Result<Plan, CliError> {
    let planned = request.plan(arguments)?;
    Ok(planned.plan.doing_again(request.force)?)
}

/// What would be done. A pipeline that lacks what it reads is sound all the same: it is said what to get, and what would
/// wait for it.
fn dry_run(arguments: &Arguments, request: &Request<'_>) -> Result<Rows, CliError> {
    match plan(arguments, request) {
        Ok(plan) => Ok(plan_rows(&plan, request.force)),
        Err(CliError::Pipeline(PipelineError::Lacking { problems, plan })) => {
            remark(&problems);
            Ok(plan_rows(&plan, request.force))
        }
        Err(error) => Err(error),
    }
}

fn plan_rows(plan: &Plan, force: &[String]) -> Rows {
    let mut rows = Rows::new(&DRY_RUN);
    for stage in &plan.stages {
        let forced = force.contains(&stage.spec.name);
        let would_be = match stage.spec.lacks.first() {
            _ if stage.cached.is_some() && !forced => "cached".to_owned(),
            Some(lack) => format!("missing its {}", lack.what),
            None => "run".to_owned(),
        };
        rows.push(vec![
            json!(stage.spec.name),
            json!(stage.spec.kind),
            json!(would_be),
            json!(stage.is_known.then_some(stage.fingerprint)),
        ]);
    }
    rows
}
