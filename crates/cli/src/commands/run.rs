//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use patchwork_artifacts::StageStatus;
use patchwork_core::Fingerprint;
use patchwork_recipes::Variant;
use patchwork_supervisor::{PipelineError, Plan, RunOutcome, Scope};
use patchwork_terms::Kind;
use serde_json::json;

use super::request::Request;
use crate::arguments::{Arguments, PipelineArguments, RunArguments};
use crate::console::Console;
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED, exit_signalled};
use crate::gpu::has_nvidia_gpu;
use crate::output::{Report, Rows};

/// The columns of `--dry-run`.
const DRY_RUN: [&str; 4] = ["stage", "kind", "would be", "fingerprint"];

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let variants = patchwork_recipes::load(&run.pipeline.file, &run.pipeline.overrides())?;
    let mut report = Report::new(run.execution.format);
    if has_nvidia_gpu(Path::new("/")) && computes_on_cpu_alone(&variants, scope(&run.pipeline)) {
        let idle = "warning: this machine has an NVIDIA GPU, and every stage of this run computes on the CPU; \
                    `--device cuda:0` uses the GPU";
        report.console().remark(idle.to_owned());
    }
    let end = run_all(arguments, run, &variants, &mut report).await;
    // What was done is reported whatever came after it.
    report.conclude(end)
}

/// One combination after another. What is wrong with one, be it in printing or in recording it, keeps no other back.
async fn run_all(
    arguments: &Arguments,
    run: &RunArguments,
    variants: &[Variant],
    report: &mut Report,
) -> Result<ExitCode, CliError> {
    let mut tally = Tally::default();
    let mut forced = BTreeSet::new();
    for (number, variant) in variants.iter().enumerate() {
        report.console().check_signals().await?;
        if variants.len() > 1 {
            let headline = headline(number, variants.len(), variant);
            report.console().remark(headline);
        }
        let request = Request {
            pipeline: &variant.pipeline,
            scope: scope(&run.pipeline),
            force: &run.force,
            forced: &forced,
            jobs: run.execution.jobs.map(usize::from),
            rehash: run.pipeline.rehash && number == 0,
            varied: variant.varied(),
            notify: run.execution.notify.as_deref(),
        };
        if run.dry_run {
            let plan = dry_run(arguments, &request, report.console())?;
            report.add(plan_rows(&plan));
            forced.extend(forced_by(&plan));
            continue;
        }
        let outcome = request.carry_out(arguments, report).await?;
        tally.count(&outcome);
        let at_work = outcome.stages.iter().filter(|stage| {
            stage.status != StageStatus::Skipped && run.force.contains(&stage.stage)
        });
        forced.extend(at_work.map(|stage| stage.fingerprint));
        let is_last = number + 1 == variants.len();
        if let Some(signal) = stopped_by(&outcome, is_last) {
            return Ok(ExitCode::from(exit_signalled(signal)));
        }
    }
    if variants.len() > 1 {
        for remark in tally.remarks(variants.len()) {
            report.console().remark(remark);
        }
    }
    Ok(tally.exit_code())
}

/// The signal that ends the command with this combination: not one that came when nothing was left to do.
fn stopped_by(outcome: &RunOutcome, is_last: bool) -> Option<i32> {
    let is_all_done = is_last && outcome.is_success();
    outcome.signal.filter(|_| !is_all_done)
}

/// How many combinations did not come to a good end.
#[derive(Default)]
struct Tally {
    failed: usize,
    paused: usize,
    unrecorded: usize,
}

impl Tally {
    fn count(&mut self, outcome: &RunOutcome) {
        if outcome.is_paused() {
            self.paused += 1;
        } else if !outcome.is_success() {
            self.failed += 1;
        }
        self.unrecorded += usize::from(!outcome.is_recorded());
    }

    fn remarks(&self, all: usize) -> Vec<String> {
        let counts = [
            (
                self.paused,
                "stopped at a limit; the same command resumes them",
            ),
            (self.failed, "failed"),
            (self.unrecorded, "could not be recorded in full"),
        ];
        counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} of {all} combinations {what}"))
            .collect()
    }

    fn exit_code(&self) -> ExitCode {
        match (self.failed + self.unrecorded, self.paused) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(EXIT_PAUSED),
            _ => ExitCode::from(EXIT_FAILED),
        }
    }
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

/// What would be done. A pipeline whose input is missing is valid all the same: it is said what to get, and what would
/// wait for it.
fn dry_run(
    arguments: &Arguments,
    request: &Request<'_>,
    console: &Console,
) -> Result<Plan, CliError> {
    match request.plan(arguments) {
        Ok(planned) => {
            for stage in &planned.plan.stages {
                if let Some(problem) = &stage.unusable {
                    console.remark(format!(
                        "stage `{}`: the folder in its place is not a complete artifact and will be set aside: {problem}",
                        stage.spec.name
                    ));
                }
            }
            Ok(planned.plan)
        }
        Err(CliError::Pipeline(PipelineError::MissingInputs { problems, plan })) => {
            console.remark(problems);
            Ok(plan)
        }
        Err(error) => Err(error),
    }
}

fn forced_by(plan: &Plan) -> impl Iterator<Item = Fingerprint> {
    let forced = plan.stages.iter().filter(|stage| stage.is_forced);
    forced.map(|stage| stage.fingerprint)
}

fn plan_rows(plan: &Plan) -> Rows {
    let mut rows = Rows::new(&DRY_RUN);
    for stage in &plan.stages {
        let would_be = match stage.spec.missing.first() {
            _ if stage.cached.is_some() => "cached".to_owned(),
            Some(input) => format!("missing its {}", input.what),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use patchwork_artifacts::Outcome;
    use patchwork_supervisor::StageResult;

    use super::*;

    /// A run of one stage.
    fn outcome(status: StageStatus, signal: Option<i32>) -> RunOutcome {
        let stage = StageResult {
            stage: "train".to_owned(),
            kind: "train".to_owned(),
            status,
            duration: Duration::ZERO,
            fingerprint: Fingerprint::of(&json!("train")),
            folder: PathBuf::new(),
            outcome: status.is_done().then(Outcome::default),
            error: Vec::new(),
            log: PathBuf::new(),
        };
        RunOutcome {
            run: "test-1".to_owned(),
            stages: vec![stage],
            signal,
            unrecorded: Vec::new(),
        }
    }

    #[test]
    fn a_signal_stops_a_matrix_of_which_something_is_left() {
        let stopped = |status, is_last| stopped_by(&outcome(status, Some(15)), is_last);
        // It came while the combination's last stage was published.
        assert_eq!(stopped(StageStatus::Succeeded, false), Some(15));
        assert_eq!(stopped(StageStatus::Succeeded, true), None);
        assert_eq!(stopped(StageStatus::Interrupted, true), Some(15));
        assert_eq!(stopped_by(&outcome(StageStatus::Failed, None), false), None);
    }

    #[test]
    fn a_matrix_ends_as_the_worst_of_its_combinations() {
        let (done, paused, failed) = (
            outcome(StageStatus::Succeeded, None),
            outcome(StageStatus::Interrupted, None),
            outcome(StageStatus::Failed, None),
        );
        let unrecorded = RunOutcome {
            unrecorded: vec!["no space".to_owned()],
            ..done.clone()
        };
        for (outcomes, code, remarks) in [
            (vec![&done, &done], ExitCode::SUCCESS, 0),
            (vec![&paused, &done], ExitCode::from(EXIT_PAUSED), 1),
            (vec![&failed, &done], ExitCode::from(EXIT_FAILED), 1),
            (vec![&unrecorded, &done], ExitCode::from(EXIT_FAILED), 1),
            (vec![&paused, &failed], ExitCode::from(EXIT_FAILED), 2),
        ] {
            let mut tally = Tally::default();
            for outcome in &outcomes {
                tally.count(outcome);
            }
            assert_eq!(tally.exit_code(), code, "{outcomes:?}");
            assert_eq!(tally.remarks(2).len(), remarks, "{outcomes:?}");
        }
    }
}
