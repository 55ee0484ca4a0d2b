//! `patchwork run`: a pipeline from its file to its last artifact.

use std::path::PathBuf;
use std::process::ExitCode;

use patchwork_core::durable;
use patchwork_pipeline::provenance::Provenance;
use patchwork_pipeline::{ExecuteOptions, Plan, RunOutcome, StageResult, Store, execute};
use patchwork_planner::{SpecifyOptions, specify};
use patchwork_registry::Registry;
use patchwork_weights::weights_folder;
use serde_json::{Value, json};

use crate::arguments::{Arguments, Format, RunArguments};
use crate::error::{CliError, EXIT_FAILED};
use crate::output::{Rows, line, remark};
use crate::progress;
use crate::worker_program::{self, LIBTORCH_VERSION};

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let pipeline = patchwork_config::load(&run.pipeline, &run.set)?;
    for stage in &run.force {
        if pipeline.stage(stage).is_none() {
            let known: Vec<&str> = pipeline
                .stages
                .iter()
                .map(|stage| stage.name.as_str())
                .collect();
            return Err(CliError::NoSuchStage {
                stage: stage.clone(),
                pipeline: run.pipeline.display().to_string(),
                known: known.join(", "),
            });
        }
    }
    let store = Store::open(&arguments.home)?;
    let weights = weights_folder(arguments.weights.clone());
    let options = SpecifyOptions {
        cache: &store.cache(),
        weights: &weights,
        rehash: run.rehash,
    };
    let spec = specify(&pipeline, &options)?;
    let plan = Plan::new(&spec, &store, run.until.as_deref())?;
    if run.dry_run {
        print_plan(&plan, &run.force, run.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let worker = worker_program::path()?;
    if plan
        .stages
        .iter()
        .any(|stage| stage.cached.is_none() || run.force.contains(&stage.spec.name))
    {
        worker_program::probe(&worker)?;
    }
    let _alive = store.announce_process()?;
    let registry = Registry::open(&store.registry()).await?;
    for stale in registry
        .mark_stale_attempts(|pid, _| store.is_alive(pid))
        .await?
    {
        remark(&format!(
            "run {} ended without a word in stage {} (last seen {}); recorded as interrupted",
            stale.run, stale.stage, stale.heartbeat
        ));
    }
    let execute_options = ExecuteOptions {
        worker,
        jobs: run.jobs.into(),
        force: run.force.clone(),
        provenance: provenance()?,
    };
    let mut observer = progress::observer();
    let outcome = execute(
        &spec,
        &plan,
        &store,
        &registry,
        &execute_options,
        observer.as_mut(),
    )
    .await?;
    registry.close().await;
    print_outcome(&outcome, run.format)?;
    Ok(exit_code(&outcome))
}

fn exit_code(outcome: &RunOutcome) -> ExitCode {
    const SIGNAL_BASE: i32 = 128;
    match outcome.signal {
        _ if outcome.is_success() => ExitCode::SUCCESS,
        Some(signal) => ExitCode::from(u8::try_from(SIGNAL_BASE + signal).unwrap_or(EXIT_FAILED)),
        None => ExitCode::from(EXIT_FAILED),
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

fn print_outcome(outcome: &RunOutcome, format: Format) -> Result<(), CliError> {
    let mut rows = Rows::new(&["stage", "status", "time", "artifact"]);
    for stage in &outcome.stages {
        rows.push(vec![
            json!(stage.stage),
            json!(stage.status),
            match format {
                Format::Table => json!(progress::duration(stage.duration)),
                Format::Json | Format::Csv => json!(stage.duration.as_secs_f64()),
            },
            stage
                .outcome
                .as_ref()
                .map_or(Value::Null, |_| json!(stage.folder.display().to_string())),
        ]);
    }
    rows.print(format)?;
    if format != Format::Table {
        return Ok(());
    }
    for stage in &outcome.stages {
        print_distances(stage)?;
    }
    for picture in outcome.stages.iter().flat_map(pictures) {
        line(&format!("picture: {}", picture.display()))?;
    }
    line(&format!(
        "run {}; `patchwork show {}` has the details",
        outcome.run, outcome.run
    ))
}

/// The scores of a stage, in the words of its summary.
fn print_distances(stage: &StageResult) -> Result<(), CliError> {
    let distances = stage
        .outcome
        .as_ref()
        .and_then(|outcome| outcome.summary.get("distances"));
    for distance in distances.and_then(Value::as_array).into_iter().flatten() {
        if let (Some(metric), Some(of), Some(value)) = (
            distance["metric"].as_str(),
            distance["of"].as_str(),
            distance["value"].as_f64(),
        ) {
            line(&format!("{metric} of {of}: {value:.2}"))?;
        }
    }
    Ok(())
}

fn pictures(stage: &StageResult) -> Vec<PathBuf> {
    let mut paths = match &stage.outcome {
        Some(_) => durable::list(&stage.folder).unwrap_or_default(),
        None => Vec::new(),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths
}

fn provenance() -> Result<Provenance, CliError> {
    let folder = std::env::current_dir().map_err(CliError::Program)?;
    let versions = json!({
        "patchwork": env!("CARGO_PKG_VERSION"),
        "libtorch": LIBTORCH_VERSION,
        "rust": env!("CARGO_PKG_RUST_VERSION"),
    });
    Ok(Provenance::collect(
        std::env::args().collect(),
        &folder,
        versions,
    ))
}
