//! `patchwork run`: a pipeline, or every combination of its matrix, from its file to its last artifact.

use std::process::ExitCode;

use patchwork_config::Variant;
use patchwork_pipeline::{Plan, RunOutcome, Scope};
use patchwork_planner::missing::missing;
use patchwork_weights::weights_folder;
use serde_json::json;

use super::request::Request;
use crate::arguments::{Arguments, PipelineArguments, RunArguments};
use crate::console::Console;
use crate::error::{CliError, EXIT_FAILED, EXIT_PAUSED, exit_signalled};
use crate::output::{Report, Rows};

/// The columns of `--dry-run`.
const DRY_RUN: [&str; 4] = ["stage", "kind", "would be", "fingerprint"];

pub(crate) async fn run(arguments: &Arguments, run: &RunArguments) -> Result<ExitCode, CliError> {
    let variants = patchwork_config::load(&run.pipeline.file, &run.pipeline.set)?;
    let mut report = Report::new(run.format);
    let end = run_all(arguments, run, &variants, &mut report).await;
    // What was done is told whatever came after it.
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
            jobs: run.jobs.map(usize::from),
            rehash: run.pipeline.rehash && number == 0,
        };
        if run.dry_run {
            request.check_names()?;
            let rows = match missing_rows(arguments, &request, report.console()) {
                Some(rows) => rows,
                None => plan_rows(&request.plan(arguments)?.plan, &run.force),
            };
            report.add(rows);
            continue;
        }
        let outcome = request.carry_out(arguments, report).await?;
        tally.count(&outcome);
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
        let told = [
            (
                self.paused,
                "stopped at a limit; the same command goes on with them",
            ),
            (self.failed, "failed"),
            (self.unrecorded, "could not be recorded in full"),
        ];
        told.into_iter()
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
fn missing_rows(arguments: &Arguments, request: &Request<'_>, console: &Console) -> Option<Rows> {
    let stages = request.pipeline.needed(request.scope.last());
    let missing = missing(&stages, &weights_folder(arguments.weights.clone()));
    if missing.is_empty() {
        return None;
    }
    for missing in &missing {
        console.remark(format!("stage `{}`: {}", missing.stage, missing.problem));
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use patchwork_core::Fingerprint;
    use patchwork_pipeline::{Outcome, StageResult, StageStatus};

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
        for (outcomes, code, told) in [
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
            assert_eq!(tally.remarks(2).len(), told, "{outcomes:?}");
        }
    }
}
