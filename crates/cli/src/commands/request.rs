//! What `run`, `retry` and `explain` have in common: from a resolved pipeline to a plan, and to a finished run.

use std::path::PathBuf;
use std::process::ExitCode;

use patchwork_config::Pipeline;
use patchwork_core::durable;
use patchwork_core::lock::FileLock;
use patchwork_pipeline::provenance::{Provenance, RUSTC_VERSION};
use patchwork_pipeline::{
    ExecuteOptions, Outcome, PipelineSpec, Plan, RunOutcome, Scope, StageResult, Store, execute,
};
use patchwork_planner::{SpecifyOptions, specify};
use patchwork_registry::Registry;
use patchwork_weights::weights_folder;
use serde_json::{Value, json};

use super::explain::tell_unfinished;
use crate::arguments::{Arguments, Format};
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED};
use crate::output::{Report, Rows, duration, line, remark};
use crate::printer::Printer;
use crate::worker_program::{self, LIBTORCH_VERSION};

/// A pipeline and how it is to be carried out.
pub(crate) struct Request<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) scope: Scope<'a>,
    pub(crate) force: &'a [String],
    /// None = as many stages at once as there is room for.
    pub(crate) jobs: Option<usize>,
    pub(crate) rehash: bool,
}

/// A request that can be carried out.
pub(crate) struct Planned {
    pub(crate) store: Store,
    pub(crate) spec: PipelineSpec,
    pub(crate) plan: Plan,
    planning: FileLock,
}

impl Request<'_> {
    /// Whether the pipeline has the stages that were named.
    pub(crate) fn check_names(&self) -> Result<(), CliError> {
        let named = self.force.iter().map(String::as_str);
        for stage in named.chain(self.scope.last()) {
            if self.pipeline.stage(stage).is_none() {
                let stages = self.pipeline.stages.iter();
                let known: Vec<&str> = stages.map(|stage| stage.name.as_str()).collect();
                return Err(CliError::NoSuchStage {
                    stage: stage.to_owned(),
                    pipeline: self.pipeline.name.clone(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Digests the raw data, checks the weights and looks up what is done already.
    pub(crate) fn plan(&self, arguments: &Arguments) -> Result<Planned, CliError> {
        self.check_names()?;
        let store = Store::open(&arguments.home)?;
        let weights = weights_folder(arguments.weights.clone());
        let options = SpecifyOptions {
            cache: &store.cache(),
            weights: &weights,
            rehash: self.rehash,
        };
        let spec = specify(self.pipeline, self.scope.last(), &options)?;
        Planned::new(store, spec, self.scope)
    }

    /// Plans and carries out the request, and reports what became of it.
    pub(crate) async fn carry_out(
        &self,
        arguments: &Arguments,
        report: &mut Report,
    ) -> Result<RunOutcome, CliError> {
        let planned = self.plan(arguments)?;
        tell_unfinished(&planned.plan, &planned.store)?;
        let outcome = planned.carry_out(self.force, self.jobs).await?;
        report_outcome(&outcome, report)?;
        if report.format() == Format::Table {
            line(&format!(
                "run {}; `patchwork show {}` has the details",
                outcome.run, outcome.run
            ))?;
        }
        Ok(outcome)
    }
}

impl Planned {
    /// Plans the stages that `spec` describes.
    pub(crate) fn new(
        store: Store,
        spec: PipelineSpec,
        scope: Scope<'_>,
    ) -> Result<Self, CliError> {
        let planning = store.lock_planning()?;
        let plan = Plan::new(&spec, &store, scope)?;
        Ok(Self {
            store,
            spec,
            plan,
            planning,
        })
    }

    /// Carries the plan out, with up to `jobs` stages at once, those of `force` even if they are done already.
    pub(crate) async fn carry_out(
        self,
        force: &[String],
        jobs: Option<usize>,
    ) -> Result<RunOutcome, CliError> {
        let Self {
            store,
            spec,
            plan,
            planning,
        } = self;
        let worker = worker_program::path()?;
        let runs = |stage: &patchwork_pipeline::PlannedStage| {
            stage.cached.is_none() || force.contains(&stage.spec.name)
        };
        if plan.stages.iter().any(runs) {
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
        let options = ExecuteOptions {
            worker,
            jobs,
            force: force.to_vec(),
            provenance: provenance()?,
        };
        let mut printer = Printer::start();
        let outcome = execute(
            &spec,
            &plan,
            planning,
            &store,
            &registry,
            &options,
            &mut printer,
        )
        .await;
        printer.finish();
        let outcome = outcome?;
        registry.close().await;
        Ok(outcome)
    }
}

/// The exit code that says what became of a run.
pub(crate) fn exit_code(outcome: &RunOutcome) -> ExitCode {
    const SIGNAL_BASE: i32 = 128;
    match outcome.signal {
        _ if outcome.is_success() => ExitCode::SUCCESS,
        Some(signal) => ExitCode::from(u8::try_from(SIGNAL_BASE + signal).unwrap_or(EXIT_FAILED)),
        None if outcome.is_paused() => ExitCode::from(EXIT_PAUSED),
        None => ExitCode::from(EXIT_FAILED),
    }
}

/// Reports what became of each stage, and to people its scores and its pictures.
fn report_outcome(outcome: &RunOutcome, report: &mut Report) -> Result<(), CliError> {
    let format = report.format();
    let mut rows = Rows::new(&["stage", "status", "time", "artifact"]);
    for stage in &outcome.stages {
        rows.push(vec![
            json!(stage.stage),
            json!(stage.status),
            duration(Some(stage.duration.as_secs_f64()), format),
            stage
                .outcome
                .as_ref()
                .map_or(Value::Null, |_| json!(stage.folder.display().to_string())),
        ]);
    }
    report.add(rows)?;
    if format != Format::Table {
        return Ok(());
    }
    for stage in &outcome.stages {
        print_distances(stage)?;
    }
    for picture in outcome.stages.iter().flat_map(pictures) {
        line(&format!("picture: {}", picture.display()))?;
    }
    Ok(())
}

/// The scores of a stage, in the words of its summary.
pub(crate) fn print_distances(stage: &StageResult) -> Result<(), CliError> {
    stage.outcome.as_ref().map_or(Ok(()), print_scores)
}

/// The scores that an outcome's summary tells.
pub(crate) fn print_scores(outcome: &Outcome) -> Result<(), CliError> {
    let distances = outcome.summary.get("distances");
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
        "rustc": RUSTC_VERSION,
    });
    Ok(Provenance::collect(
        std::env::args().collect(),
        &folder,
        versions,
    ))
}
