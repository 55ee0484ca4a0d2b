//! One stage on files, without a pipeline: `train`, `sample`, `evaluate` and `dataset build`.
//!
//! It is done as in a pipeline, by the same supervisor and worker, in a home folder of its own; so it resumes after a
//! crash when the same command is given again. What it reads are finished artifacts, linked into that home.

mod build;
mod evaluate;
mod given;
mod sample;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_config::SingleStage;
use patchwork_core::{FileError, durable};
use patchwork_pipeline::{Manifest, Outcome, PipelineSpec, RunOutcome, Scope, StageSpec, Store};
use patchwork_planner::{SpecifyOptions, specify_stage};
use patchwork_weights::weights_folder;
use serde_json::json;

pub(crate) use build::build;
pub(crate) use evaluate::evaluate;
pub(crate) use sample::sample;
pub(crate) use train::train;

use super::request::{Planned, exit_code, score_lines};
use crate::arguments::Arguments;
use crate::console::Console;
use crate::error::CliError;
use given::Given;

/// A stage on files, whose result becomes a folder of the user's choice.
struct Standalone<'a> {
    arguments: &'a Arguments,
    /// The artifacts that it reads.
    given: Vec<Given>,
    /// The stages that it reads the artifacts of, and that are done for it.
    before: Vec<SingleStage>,
    single: SingleStage,
    out: &'a Path,
    /// Whether what is at `out` may go.
    replace: bool,
}

/// The home folder of the work on `out`: beside it, and so on the same disk.
fn work_home(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".work");
    out.with_file_name(name)
}

/// The folder of the logs of the work on `out`.
fn logs(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".logs");
    out.with_file_name(name)
}

impl Standalone<'_> {
    /// Does the work, or what is left of it, and ends the command.
    async fn carry_out(self, mut console: Console) -> Result<ExitCode, CliError> {
        let end = self.work(&mut console).await;
        console.conclude(end)
    }

    async fn work(&self, console: &mut Console) -> Result<ExitCode, CliError> {
        let home = work_home(self.out);
        let name = self.single.stage.name.clone();
        let work_before = home.exists();
        let planned = match self.plan(&name, console) {
            Ok(Some(planned)) => planned,
            Ok(None) => {
                durable::remove_dir_all(&home)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => {
                // What is refused leaves nothing behind.
                if !work_before {
                    durable::remove_dir_all(&home)?;
                }
                return Err(error);
            }
        };
        let store = planned.store.clone();
        let outcome = planned.carry_out(&[], None, console).await?;
        if outcome.is_success() {
            self.publish(&store, &outcome, &name, console)?;
        } else {
            console.remark(format!(
                "the same command goes on from there; the work so far lies in `{}`",
                home.display()
            ));
        }
        Ok(exit_code(&outcome))
    }

    /// What there is to do; none if it is done already, which is told.
    fn plan(&self, name: &str, console: &Console) -> Result<Option<Planned>, CliError> {
        let store = Store::open(&work_home(self.out))?;
        let planned = Planned::new(store.clone(), self.spec(&store)?, Scope::All)?;
        let stage = planned
            .plan
            .stage(name)
            .expect("the plan has the stage that it is made for");
        if self.out.exists() {
            match Manifest::read(self.out) {
                Ok(made) if made.fingerprint == stage.fingerprint => {
                    console.remark(format!("`{}` is done already", self.out.display()));
                    print_scores(&made.outcome, console);
                    return Ok(None);
                }
                _ if self.replace => durable::remove_dir_all(self.out)?,
                _ => {
                    return Err(CliError::OutputThere {
                        path: self.out.to_owned(),
                    });
                }
            }
        }
        Ok(Some(planned))
    }

    fn spec(&self, store: &Store) -> Result<PipelineSpec, CliError> {
        let mut stages = Vec::with_capacity(self.given.len() + self.before.len() + 1);
        for given in &self.given {
            given.put_in_place(store)?;
            stages.push(given.spec());
        }
        for single in &self.before {
            stages.push(specify(self.arguments, single, store)?);
        }
        let mut spec = specify(self.arguments, &self.single, store)?;
        if self.before.is_empty() {
            spec.needs = self.given.iter().map(|given| given.name.clone()).collect();
        }
        stages.push(spec);
        let SingleStage { seed, stage } = &self.single;
        Ok(PipelineSpec {
            name: stage.name.clone(),
            definition: json!({ "stage": stage, "seed": seed }),
            stages,
        })
    }

    /// Moves the artifact to its place and the logs beside it, and removes the home folder.
    fn publish(
        &self,
        store: &Store,
        outcome: &RunOutcome,
        stage: &str,
        console: &Console,
    ) -> Result<(), CliError> {
        let done = outcome
            .stages
            .iter()
            .find(|result| result.stage == stage)
            .expect("the run has the stage that it is made for");
        self.keep_logs(store)?;
        durable::publish_directory(&done.folder, self.out)?;
        durable::remove_dir_all(store.home())?;
        if let Some(outcome) = &done.outcome {
            print_scores(outcome, console);
        }
        for path in durable::list(self.out)? {
            if path.extension().is_some_and(|extension| extension == "png") {
                console.result(format!("picture: {}", path.display()));
            }
        }
        console.result(self.out.display().to_string());
        Ok(())
    }

    /// Every attempt's logs are kept: the interrupted ones tell of the first part of the work.
    fn keep_logs(&self, store: &Store) -> Result<(), FileError> {
        let kept = logs(self.out);
        durable::create_dir_all(&kept)?;
        for run in durable::list(&store.home().join("logs"))? {
            let place = kept.join(run.file_name().unwrap_or_default());
            durable::remove_dir_all(&place)?;
            durable::publish_directory(&run, &place)?;
        }
        Ok(())
    }
}

fn specify(
    arguments: &Arguments,
    single: &SingleStage,
    store: &Store,
) -> Result<StageSpec, CliError> {
    let options = SpecifyOptions {
        cache: &store.cache(),
        weights: &weights_folder(arguments.weights.clone()),
        rehash: false,
    };
    Ok(specify_stage(&single.stage, single.seed, &options)?)
}

/// Carries out stages that read no other, in the home of the work on `out`; gives their folders, or the exit code of
/// a run that did not come to its end.
async fn make_first(
    arguments: &Arguments,
    stages: &[SingleStage],
    out: &Path,
    console: &mut Console,
) -> Result<Result<Vec<PathBuf>, ExitCode>, CliError> {
    let store = Store::open(&work_home(out))?;
    let specs = stages
        .iter()
        .map(|single| specify(arguments, single, &store))
        .collect::<Result<Vec<_>, _>>()?;
    let spec = PipelineSpec {
        name: "images".to_owned(),
        definition: json!({ "stages": stages.iter().map(|single| &single.stage).collect::<Vec<_>>() }),
        stages: specs,
    };
    let planned = Planned::new(store, spec, Scope::All)?;
    let outcome = planned.carry_out(&[], None, console).await?;
    if !outcome.is_success() || !outcome.is_recorded() {
        return Ok(Err(exit_code(&outcome)));
    }
    let folders = outcome.stages.into_iter().map(|stage| stage.folder);
    Ok(Ok(folders.collect()))
}

fn print_scores(outcome: &Outcome, console: &Console) {
    for line in score_lines(outcome) {
        console.result(line);
    }
}
