//! What `run`, `retry` and `explain` have in common: from a resolved pipeline to a plan, and to a finished run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_artifacts::provenance::{Provenance, RUSTC_VERSION};
use patchwork_artifacts::{Outcome, PipelineSpec, Store};
use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, Fingerprint, durable};
use patchwork_recipes::{Pipeline, SpecifyOptions, specify};
use patchwork_registry::Registry;
use patchwork_supervisor::rebuild;
use patchwork_supervisor::{
    ExecuteOptions, Plan, RunOutcome, Scope, StageResult, execute, remove_leftovers,
};
use patchwork_weights::weights_folder;
use serde_json::{Value, json};

use super::changes::report_unfinished;
use super::notify::notify;
use super::recovery;
use crate::arguments::{Arguments, Format};
use crate::console::Console;
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED, exit_signalled};
use crate::output::{Report, Rows, duration, score_text};
use crate::worker_program::{self, LIBTORCH_VERSION};

/// A pipeline and how it is to be carried out.
pub(crate) struct Request<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) scope: Scope<'a>,
    pub(crate) force: &'a [String],
    /// What earlier combinations of the matrix have computed again: it is not computed once more.
    pub(crate) forced: &'a BTreeSet<Fingerprint>,
    /// None = as many stages at once as there is room for.
    pub(crate) jobs: Option<usize>,
    pub(crate) rehash: bool,
    /// The dotted keys of the matrix that the pipeline is a combination of.
    pub(crate) varied: Vec<&'a str>,
    /// The command to run when it is over.
    pub(crate) notify: Option<&'a str>,
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
        let (store, spec) = self.specify(arguments)?;
        self.plan_of(store, spec)
    }

    fn specify(&self, arguments: &Arguments) -> Result<(Store, PipelineSpec), CliError> {
        self.check_names()?;
        let store = Store::open(&arguments.home)?;
        let weights = weights_folder(arguments.weights.clone());
        let options = SpecifyOptions {
            cache: &store.cache(),
            weights: &weights,
            rehash: self.rehash,
        };
        let spec = specify(self.pipeline, self.scope.last(), &options)?;
        Ok((store, spec))
    }

    fn plan_of(&self, store: Store, spec: PipelineSpec) -> Result<Planned, CliError> {
        let mut planned = Planned::new(store, spec, self.scope)?;
        planned.plan = self.force(planned.plan)?;
        Ok(planned)
    }

    /// The plan with the stages that run again: what they are made of has to be there.
    fn force(&self, plan: Plan) -> Result<Plan, CliError> {
        Ok(plan.forcing(self.force, self.forced)?)
    }

    /// The first stage with many more threads than the machine has cores, which only wait for each other.
    fn crowded(&self) -> Option<String> {
        const MANY_TIMES: usize = 4;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stages = self.pipeline.needed(self.scope.last());
        let crowded = stages.into_iter().find_map(|stage| {
            let threads = stage.execution.threads?;
            (threads > MANY_TIMES * cores).then_some((stage, threads))
        });
        let (stage, threads) = crowded?;
        Some(format!(
            "warning: `threads` = {threads} in [stages.{}], and this machine has {cores} cores: threads that wait for each \
             other are slower than a few",
            stage.name
        ))
    }

    /// Plans and carries out the request, and reports what became of it.
    pub(crate) async fn carry_out(
        &self,
        arguments: &Arguments,
        report: &mut Report,
    ) -> Result<RunOutcome, CliError> {
        let (store, spec) = self.specify(arguments)?;
        // A worker that hangs at its start, for a device that is lost, keeps nobody else from planning.
        check_worker(&self.force(Plan::new(&spec, &store, self.scope)?)?)?;
        let planned = self.plan_of(store, spec)?;
        let console = report.console();
        for remark in done_without(&planned.plan)
            .into_iter()
            .chain(self.crowded())
        {
            console.remark(remark);
        }
        report_unfinished(&planned.plan, &planned.store, &self.varied, console)?;
        let end = planned.carry_out(self.jobs, console).await;
        if let Ok(outcome) = &end {
            report_outcome(outcome, report);
        }
        if let Some(command) = self.notify {
            let pipeline = &self.pipeline.name;
            notify(command, &arguments.home, pipeline, &end, report.console()).await;
        }
        end
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

    /// Carries the plan out, with up to `jobs` stages at once.
    pub(crate) async fn carry_out(
        self,
        jobs: Option<usize>,
        console: &mut Console,
    ) -> Result<RunOutcome, CliError> {
        console.check_signals().await?;
        let Self {
            store,
            spec,
            plan,
            planning,
        } = self;
        let worker = worker_program::path()?;
        let own_programs = worker_program::own_programs()?;
        let registry = Registry::open(&store.registry()).await?;
        recovery::report_entered(
            &rebuild::enter_unknown_runs(&store, &registry).await?,
            |text| {
                console.remark(text);
            },
        );
        // Before this process shows that it is alive: it may have the id of one that is gone, as the first process of a
        // container that was started again.
        for stale in registry
            .mark_stale_attempts(|pid, _| store.is_alive(pid))
            .await?
        {
            console.remark(format!(
                "run {} crashed in stage {} (last heartbeat {}); recorded as interrupted",
                stale.run, stale.stage, stale.heartbeat
            ));
            if let Err(error) = remove_leftovers(&store, &stale.run) {
                console.remark(format!("warning: {error}"));
            }
        }
        let _alive = store.announce_process()?;
        let options = ExecuteOptions {
            worker,
            own_programs,
            jobs,
            provenance: provenance()?,
        };
        let outcome = execute(
            &spec,
            &plan,
            planning,
            &store,
            &registry,
            &options,
            console.caller()?,
        )
        .await?;
        registry.close().await;
        if !outcome.is_recorded() {
            console.remark(format!(
                "error: run {} ended, and not all of it could be recorded: {}\n\
                 hint: finished artifacts and checkpoints are in place: fix the cause, and run the same command again",
                outcome.run,
                outcome.unrecorded.join(": ")
            ));
        }
        Ok(outcome)
    }
}

/// Starts the worker once where a stage of the plan needs it, so that what keeps it from starting is reported before any stage
/// is tried. It may take its time: call it while others may plan.
pub(crate) fn check_worker(plan: &Plan) -> Result<(), CliError> {
    let worker = worker_program::path()?;
    let own_programs = worker_program::own_programs()?;
    let mut open = plan.stages.iter().filter(|stage| stage.cached.is_none());
    if open.any(|stage| !own_programs.contains_key(&stage.spec.kind)) {
        worker_program::probe(&worker)?;
    }
    Ok(())
}

/// Which stages are done whose raw data is not there: their artifacts are of what was there before.
fn done_without(plan: &Plan) -> Vec<String> {
    let done = plan.stages.iter().filter(|stage| stage.cached.is_some());
    done.flat_map(|stage| {
        let sources = stage
            .spec
            .missing
            .iter()
            .filter(|input| input.what == "source");
        sources.map(|input| {
            let problem = input.problem.lines().next().unwrap_or_default();
            format!(
                "stage `{}` is finished, from an earlier read: {problem}",
                stage.spec.name
            )
        })
    })
    .collect()
}

/// The exit code that says what became of a run.
pub(crate) fn exit_code(outcome: &RunOutcome) -> ExitCode {
    let is_recorded = outcome.is_recorded();
    match outcome.signal {
        _ if outcome.is_success() && is_recorded => ExitCode::SUCCESS,
        Some(signal) if !outcome.is_success() => ExitCode::from(exit_signalled(signal)),
        None if outcome.is_paused() && is_recorded => ExitCode::from(EXIT_PAUSED),
        _ => ExitCode::from(EXIT_FAILED),
    }
}

/// Reports what became of each stage, and to people its scores and its pictures.
fn report_outcome(outcome: &RunOutcome, report: &mut Report) {
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
    report.add(rows);
    if format != Format::Table {
        return;
    }
    let console = report.console();
    let scores: Vec<(&str, Vec<String>)> = (outcome.stages.iter())
        .map(|stage| {
            let lines = stage.outcome.iter().flat_map(score_lines).collect();
            (stage.stage.as_str(), lines)
        })
        .filter(|(_, lines): &(_, Vec<String>)| !lines.is_empty())
        .collect();
    for (stage, lines) in &scores {
        for line in lines {
            console.result(match scores.len() {
                1 => line.clone(),
                _ => format!("{stage}: {line}"),
            });
        }
    }
    for picture in outcome.stages.iter().flat_map(pictures) {
        console.result(format!("picture: {}", picture.display()));
    }
    console.result(format!(
        "run {}; `patchwork show {}` has the details",
        outcome.run, outcome.run
    ));
}

/// The scores of an outcome's summary, a line each.
pub(crate) fn score_lines(outcome: &Outcome) -> Vec<String> {
    let distances = outcome.summary.get("distances").and_then(Value::as_array);
    let line = |distance: &Value| {
        let (metric, of) = (distance["metric"].as_str()?, distance["of"].as_str()?);
        let value = distance["value"].as_f64()?;
        Some(format!("{metric} of {of}: {}", score_text(value, 2)))
    };
    distances.into_iter().flatten().filter_map(line).collect()
}

fn pictures(stage: &StageResult) -> Vec<PathBuf> {
    match &stage.outcome {
        Some(_) => pictures_in(&stage.folder).unwrap_or_default(),
        None => Vec::new(),
    }
}

/// The pictures in an artifact's folder, which are listed for people.
pub(crate) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut paths = durable::list(folder)?;
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("png" | "gif"))
    };
    paths.retain(is_picture);
    Ok(paths)
}

fn provenance() -> Result<Provenance, CliError> {
    let folder = std::env::current_dir().map_err(CliError::Program)?;
    let versions = json!({
        "patchwork": env!("CARGO_PKG_VERSION"),
        "libtorch": LIBTORCH_VERSION,
        "rustc": RUSTC_VERSION,
    });
    let command: Vec<String> = std::env::args().collect();
    Ok(Provenance::collect(&command, &folder, versions))
}
