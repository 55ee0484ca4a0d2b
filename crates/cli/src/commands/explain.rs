//! `patchwork explain`: what a run would do with each stage, and why.

use std::path::{Path, PathBuf};

use patchwork_artifacts::Store;
use patchwork_core::{FileError, durable};
use patchwork_supervisor::Plan;
use patchwork_supervisor::explain::{Change, Explanation, Fate, explain, unfinished_beside};
use patchwork_terms::Kind;
use serde_json::json;

use super::expected::{self, Expected};
use super::request::Request;
use super::run::scope;
use crate::arguments::{Arguments, ExplainArguments, Format};
use crate::console::Console;
use crate::error::CliError;
use crate::output::{Rows, duration, exact_line, line};

pub(crate) async fn explain_pipeline(
    arguments: &Arguments,
    options: &ExplainArguments,
) -> Result<(), CliError> {
    let variants = patchwork_recipes::load(&options.pipeline.file, &options.pipeline.overrides())?;
    let mut explanations = Vec::new();
    for variant in &variants {
        let request = Request {
            pipeline: &variant.pipeline,
            scope: scope(&options.pipeline),
            force: &[],
            jobs: None,
            rehash: options.pipeline.rehash,
            varied: variant.varied(),
        };
        let planned = request.plan(arguments)?;
        explanations.extend(explain(&planned.plan, &planned.store, &request.varied)?);
    }
    let explanations = expected::with_times(&arguments.home, explanations).await?;
    match options.format {
        Format::Json => exact_line(
            &serde_json::to_string_pretty(&explanations).expect("explanations are plain data"),
        ),
        Format::Table | Format::Csv => {
            let mut rows = Rows::new(&["stage", "would be", "expected time", "because"]);
            for Expected {
                explanation,
                expected_seconds,
            } in &explanations
            {
                let fate = match explanation.fate {
                    Fate::Cached => "cached",
                    Fate::GoOn => "gone on with",
                    Fate::Run => "run",
                };
                rows.push(vec![
                    json!(explanation.stage),
                    json!(fate),
                    duration(*expected_seconds, options.format),
                    json!(because(explanation)),
                ]);
            }
            rows.print(options.format)?;
            match options.format {
                Format::Table => line(&expected::in_all(&explanations)),
                _ => Ok(()),
            }
        }
    }
}

fn because(explanation: &Explanation) -> String {
    let mut because = of_artifacts(explanation);
    if let Some(problem) = &explanation.unusable {
        because = format!(
            "what lies in its place is no whole artifact and will be set aside: {problem}\n{because}"
        );
    }
    match &explanation.unfinished {
        Some(work) => format!(
            "{because}\nunlike in the unfinished work in `{}`:\n{}",
            work.folder.display(),
            sentences(&work.changes)
        ),
        None => because,
    }
}

/// Tells of unfinished trainings that trainings of a plan might be expected to go on with, and do not: nobody is to learn
/// in the morning that the night was spent on what was there already.
pub(crate) fn tell_unfinished(
    plan: &Plan,
    store: &Store,
    varied: &[&str],
    console: &Console,
) -> Result<(), FileError> {
    let train = Kind::Train.to_string();
    for planned in plan.stages.iter().filter(|stage| stage.spec.kind == train) {
        let Some(work) = unfinished_beside(planned, store, varied)? else {
            continue;
        };
        let stage = &planned.spec.name;
        let resume = newest_checkpoint(&work.folder).map_or(String::new(), |path| {
            format!(
                "; from its last checkpoint under the new ones: --set stages.{stage}.resume_from={}",
                path.display()
            )
        });
        console.remark(format!(
            "stage `{stage}` begins anew: the unfinished work in `{}` is of other settings:\n{}\n\
             hint: under its own settings that goes on where it was{resume}",
            work.folder.display(),
            sentences(&work.changes)
        ));
    }
    Ok(())
}

/// The newest of a training's checkpoints; they are named by their steps.
fn newest_checkpoint(work: &Path) -> Option<PathBuf> {
    let mut files = durable::list(&work.join("state")).unwrap_or_default();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_whole = path.with_extension("json").is_file();
        name.starts_with("checkpoint-") && name.ends_with(".safetensors") && is_whole
    });
    files.pop()
}

fn of_artifacts(explanation: &Explanation) -> String {
    match (explanation.fate, explanation.nearest) {
        (Fate::Cached, _) => format!("its artifact {} is there", explanation.fingerprint.short()),
        (Fate::GoOn, _) => "an earlier attempt was stopped on the way".to_owned(),
        (Fate::Run, None) => format!("there is no {} artifact yet", explanation.kind),
        (Fate::Run, Some(nearest)) => {
            format!(
                "unlike in artifact {}:\n{}",
                nearest.short(),
                sentences(&explanation.changes)
            )
        }
    }
}

fn sentences(changes: &[Change]) -> String {
    let sentences: Vec<String> = changes.iter().map(sentence).collect();
    sentences.join("\n")
}

fn sentence(change: &Change) -> String {
    let Change { what, was, is } = change;
    match (was, is) {
        (Some(was), Some(is)) if what.starts_with("input ") || what == "raw data" => {
            const SHOWN: usize = 12;
            let short = |text: &str| text.chars().take(SHOWN).collect::<String>();
            format!("{what} is {}, was {}", short(is), short(was))
        }
        (Some(was), Some(is)) => format!("{what} is {is}, was {was}"),
        (None, Some(is)) => format!("{what} is {is}, was not set"),
        (Some(was), None) => format!("{what} is not set, was {was}"),
        (None, None) => what.clone(),
    }
}
