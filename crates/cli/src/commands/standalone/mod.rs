//! One stage on files, without a pipeline: `train`, `sample`, `evaluate` and `dataset build`.
//!
//! It is done as in a pipeline, by the same supervisor and worker, in a home folder of its own; so it resumes after a
//! crash when the same command is given again. What it reads are finished artifacts, linked into that home.

mod build;
mod evaluate;
mod input;
mod sample;
mod train;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_artifacts::manifest::MANIFEST_FILE;
use patchwork_artifacts::{Manifest, Outcome, PipelineSpec, StageSpec, Store};
use patchwork_config::Override;
use patchwork_core::{FileError, durable};
use patchwork_recipes::{SingleStage, SpecifyOptions, specify_stage};
use patchwork_supervisor::{RunOutcome, Scope, StageResult};
use patchwork_weights::weights_folder;
use serde_json::json;

pub(crate) use build::build;
pub(crate) use evaluate::evaluate;
pub(crate) use sample::sample;
pub(crate) use train::train;

use super::request::{Planned, check_worker, exit_code, pictures_in, score_lines};
use super::workplace::Workplace;
use crate::arguments::Arguments;
use crate::console::Console;
use crate::error::CliError;
use input::Input;

/// A stage on files, whose result becomes a folder of the user's choice.
struct Standalone<'a> {
    arguments: &'a Arguments,
    /// The artifacts that it reads.
    inputs: Vec<Input>,
    /// The stages that it reads the artifacts of, and that are done for it.
    before: Vec<SingleStage>,
    single: SingleStage,
    out: &'a Path,
    /// The home folder of the work on `out`.
    place: Workplace,
    /// Whether what is at `out` may go.
    replace: bool,
}

/// The home folder of the work on `out`: beside it, and so on the same disk.
///
/// # Errors
/// What is in the way at `out`, unless it may go or be the result of the same work, at the home folder or at the logs.
fn workplace(out: &Path, replace: bool) -> Result<Workplace, CliError> {
    let is_there = out.symlink_metadata().is_ok();
    if is_there && !replace && !out.join(MANIFEST_FILE).is_file() {
        return Err(CliError::OutputThere {
            path: out.to_owned(),
        });
    }
    let logs = logs(out);
    if logs.symlink_metadata().is_ok() && !durable::is_real_dir(&logs) {
        return Err(CliError::LogsThere { path: logs });
    }
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".work");
    Workplace::open(&out.with_file_name(name))
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

    async fn work(mut self, console: &mut Console) -> Result<ExitCode, CliError> {
        let name = self.single.stage.name.clone();
        let Some(planned) = self.plan(&name, console)? else {
            self.say_where(console)?;
            return self.leave(console, ExitCode::SUCCESS);
        };
        self.place.begin();
        let store = planned.store.clone();
        check_worker(&planned.plan)?;
        let outcome = planned.carry_out(None, console).await?;
        let code = exit_code(&outcome);
        if !outcome.is_success() {
            console.remark(format!(
                "the same command resumes from there; unfinished work is in `{}`",
                self.place.home().display()
            ));
            return Ok(code);
        }
        let done = self.publish(&store, &outcome, &name)?;
        if let Some(outcome) = &done.outcome {
            print_scores(outcome, console);
        }
        self.say_where(console)?;
        self.leave(console, code)
    }

    fn say_where(&self, console: &Console) -> Result<(), CliError> {
        for path in pictures_in(self.out)? {
            console.result(format!("picture: {}", path.display()));
        }
        console.result(self.out.display().to_string());
        Ok(())
    }

    /// Removes the home folder of the work, which is done.
    fn leave(self, console: &Console, code: ExitCode) -> Result<ExitCode, CliError> {
        if let Some(remark) = self.place.remove()? {
            console.remark(remark);
        }
        Ok(code)
    }

    /// What is to be done; none if it is up to date, which is reported.
    fn plan(&self, name: &str, console: &Console) -> Result<Option<Planned>, CliError> {
        let store = Store::open(self.place.home())?;
        let planned = Planned::new(store.clone(), self.spec(&store)?, Scope::All)?;
        let stage = planned
            .plan
            .stage(name)
            .expect("the plan has the stage that it is made for");
        if self.out.exists() {
            match Manifest::read(self.out) {
                Ok(made) if made.fingerprint == stage.fingerprint => {
                    console.remark(format!("`{}` is up to date", self.out.display()));
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
        let mut stages = Vec::with_capacity(self.inputs.len() + self.before.len() + 1);
        for input in &self.inputs {
            input.put_in_place(store)?;
            stages.push(input.spec());
        }
        for single in &self.before {
            stages.push(specify(self.arguments, single, store)?);
        }
        let mut spec = specify(self.arguments, &self.single, store)?;
        if self.before.is_empty() {
            spec.needs = self.inputs.iter().map(|input| input.name.clone()).collect();
        }
        stages.push(spec);
        let SingleStage { seed, stage } = &self.single;
        Ok(PipelineSpec {
            name: stage.name.clone(),
            definition: json!({ "stage": stage, "seed": seed }),
            stages,
        })
    }

    /// Moves the artifact to its place and the logs beside it.
    fn publish<'a>(
        &self,
        store: &Store,
        outcome: &'a RunOutcome,
        stage: &str,
    ) -> Result<&'a StageResult, CliError> {
        let done = outcome
            .stages
            .iter()
            .find(|result| result.stage == stage)
            .expect("the run has the stage that it is made for");
        self.keep_logs(store)?;
        durable::publish_directory(&done.folder, self.out)?;
        Ok(done)
    }

    /// Every attempt's logs are kept: those of interrupted ones are about the first part of the work.
    fn keep_logs(&self, store: &Store) -> Result<(), FileError> {
        let kept = logs(self.out);
        durable::create_dir_all(&kept)?;
        for run in durable::list(&store.home().join("logs"))? {
            durable::publish_directory(&run, &free_name(&kept, &run))?;
        }
        Ok(())
    }
}

/// A place for a run's folder among the logs that are kept: those of earlier work on the same result stay.
fn free_name(kept: &Path, run: &Path) -> PathBuf {
    let name = run.file_name().unwrap_or_default();
    let names = (1_u32..).map(|number| {
        let mut name = name.to_os_string();
        if number > 1 {
            name.push(format!(".{number}"));
        }
        kept.join(name)
    });
    let mut free = names.filter(|place| place.symlink_metadata().is_err());
    free.next()
        .expect("a folder has fewer entries than there are numbers")
}

/// What an option stands for that is called as the setting is.
fn option(key: &str, value: Option<impl Display>) -> Option<Override> {
    let value = value?;
    let typed = format!("--{} {value}", key.replace('_', "-"));
    Some(Override::option(format!("{key}={value}"), typed))
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

/// Carries out stages that read no other, in the home folder of the work; gives their folders, or the exit code of
/// a run that did not come to its end.
async fn make_first(
    arguments: &Arguments,
    stages: &[SingleStage],
    place: &mut Workplace,
    console: &mut Console,
) -> Result<Result<Vec<PathBuf>, ExitCode>, CliError> {
    let store = Store::open(place.home())?;
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
    place.begin();
    check_worker(&planned.plan)?;
    let outcome = planned.carry_out(None, console).await?;
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
