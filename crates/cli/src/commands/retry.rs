//! `patchwork retry`: what failed or was interrupted in a run, and what waits on it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use patchwork_recipes::Pipeline;
use patchwork_registry::{Registry, UnfinishedRun};
use patchwork_supervisor::Scope;

use super::recovery;
use super::request::{Request, exit_code};
use crate::arguments::{Arguments, RetryArguments};
use crate::error::CliError;
use crate::output::Report;

/// So many runs are named at most.
const MOST_NAMED: usize = 5;

/// Carries out the run's own pipeline again, as it was resolved then, not as its file may read by now: what
/// finished is cached.
pub(crate) async fn retry(
    arguments: &Arguments,
    retry: &RetryArguments,
) -> Result<ExitCode, CliError> {
    let path = arguments.home.join("registry.db");
    recovery::enter_unknown(&arguments.home).await?;
    let registry = Registry::open_read_only(&path).await?;
    let run = registry.run(&retry.run).await?;
    let unfinished = registry.unfinished_runs().await?;
    registry.close().await;
    if run.stages.iter().all(|stage| stage.status.is_done()) {
        return Err(CliError::NothingToRetry {
            run: run.run.name.clone(),
            others: named(&unfinished),
        });
    }
    let mut pipeline: Pipeline =
        serde_json::from_str(&run.circumstances.definition).map_err(|source| {
            CliError::Definition {
                run: run.run.name.clone(),
                source,
            }
        })?;
    // A run may have been about some of the pipeline's stages only.
    pipeline.stages.retain(|stage| {
        run.stages
            .iter()
            .any(|recorded| recorded.name == stage.name)
    });
    let started_in = Path::new(&run.circumstances.working_folder);
    let is_here = std::env::current_dir().is_ok_and(|current| current == started_in);
    // A home folder that was copied here names folders of another machine.
    if !is_here && started_in.is_dir() {
        put_below(&mut pipeline, started_in);
    }
    let request = Request {
        pipeline: &pipeline,
        scope: Scope::All,
        force: &[],
        forced: &BTreeSet::new(),
        jobs: retry.execution.jobs.map(usize::from),
        rehash: false,
        varied: Vec::new(),
        notify: retry.execution.notify.as_deref(),
    };
    let mut report = Report::new(retry.execution.format);
    let outcome = request.carry_out(arguments, &mut report).await?;
    if let Some(others) = others(&path, &outcome.run).await {
        report.console().remark(others);
    }
    report.conclude(Ok(exit_code(&outcome)))
}

/// Which runs, other than the one that was just carried out, can be resumed too; none where nobody can say.
async fn others(registry: &Path, run: &str) -> Option<String> {
    let registry = Registry::open_read_only(registry).await.ok()?;
    let unfinished = registry.unfinished_runs().await;
    registry.close().await;
    let mut others = unfinished.ok()?;
    others.retain(|other| other.run != run);
    let others = named(&others)?;
    Some(format!(
        "other runs have unfinished stages: {others}; `patchwork retry RUN` resumes one"
    ))
}

/// The first of some runs, with where they stand; none where there are none.
fn named(runs: &[UnfinishedRun]) -> Option<String> {
    let mut named: Vec<String> = runs
        .iter()
        .take(MOST_NAMED)
        .map(|run| format!("{} ({})", run.run, run.status))
        .collect();
    if runs.len() > MOST_NAMED {
        named.push(format!("and {} more", runs.len() - MOST_NAMED));
    }
    (!named.is_empty()).then(|| named.join(", "))
}

/// Relative paths of raw data, statistics and networks mean the folder in which the run was started.
fn put_below(pipeline: &mut Pipeline, folder: &Path) {
    for stage in &mut pipeline.stages {
        stage.settings.put_below(folder);
    }
}

#[cfg(test)]
mod tests {
    use patchwork_recipes::StageSettings;

    use super::*;

    #[test]
    fn relative_paths_mean_the_folder_of_the_run() {
        let home = tempfile::tempdir().unwrap();
        let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/cpu-32.toml");
        let text = format!(
            "name = \"mine\"\nextends = {preset:?}\n\
             [stages.prepare]\nsource = \"data/mine\"\n\
             [stages.reference]\nstatistics = \"/refs/mine.npz\"\nextractor = \"inception-v3\"\n\
             [stages.train]\nduration_images = 20000\ninit_from = \"first.safetensors\"\n\
             [stages.evaluate]\nbaselines = []\n"
        );
        let file = home.path().join("mine.toml");
        std::fs::write(&file, text).unwrap();
        let mut pipeline = patchwork_recipes::load(&file, &[])
            .unwrap()
            .remove(0)
            .pipeline;
        put_below(&mut pipeline, Path::new("/started/here"));
        let paths: Vec<String> = pipeline
            .stages
            .iter()
            .filter_map(|stage| match &stage.settings {
                StageSettings::Prepare(prepare) => Some(prepare.source.clone()),
                StageSettings::Reference(reference) => {
                    Some(reference.statistics.as_ref()?.display().to_string())
                }
                StageSettings::Train(train) => train.init_from.clone(),
                _ => None,
            })
            .collect();
        assert_eq!(
            paths,
            [
                "/started/here/data/mine",
                "/refs/mine.npz",
                "/started/here/first.safetensors"
            ]
        );
    }

    #[test]
    fn a_few_runs_are_named_and_the_rest_counted() {
        let runs: Vec<UnfinishedRun> = (1..=7)
            .map(|number| UnfinishedRun {
                run: format!("a-{number}"),
                status: patchwork_artifacts::RunStatus::Interrupted,
            })
            .collect();
        assert_eq!(named(&[]), None);
        assert_eq!(named(&runs[..1]).unwrap(), "a-1 (interrupted)");
        let all = named(&runs).unwrap();
        assert!(all.ends_with("a-5 (interrupted), and 2 more"), "{all}");
    }
}
