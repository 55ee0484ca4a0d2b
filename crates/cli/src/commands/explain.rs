//! `patchwork explain`: what a run would do with each stage, and why.

use std::collections::BTreeSet;

use patchwork_supervisor::explain::{Explanation, PlannedAction, explain};
use serde_json::json;

use super::changes::sentences;
use super::expected::{self, Expected};
use super::request::Request;
use super::run::scope;
use crate::arguments::{Arguments, ExplainArguments, Format};
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
            forced: &BTreeSet::new(),
            jobs: None,
            rehash: options.pipeline.rehash,
            varied: variant.varied(),
            notify: None,
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
                let action = match explanation.action {
                    PlannedAction::Cached => "cached",
                    PlannedAction::Resume => "resumed",
                    PlannedAction::Run => "run",
                };
                rows.push(vec![
                    json!(explanation.stage),
                    json!(action),
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
            "the folder in its place is not a complete artifact and will be set aside: {problem}\n{because}"
        );
    }
    match &explanation.unfinished {
        Some(work) => format!(
            "{because}\ndiffers from the unfinished work in `{}`:\n{}",
            work.folder.display(),
            sentences(&work.changes)
        ),
        None => because,
    }
}

fn of_artifacts(explanation: &Explanation) -> String {
    match (explanation.action, explanation.nearest) {
        (PlannedAction::Cached, _) => {
            format!("artifact {} is up to date", explanation.fingerprint.short())
        }
        (PlannedAction::Resume, _) => "an earlier attempt is unfinished".to_owned(),
        (PlannedAction::Run, None) => format!("there is no {} artifact yet", explanation.kind),
        (PlannedAction::Run, Some(nearest)) => {
            format!(
                "differs from artifact {}:\n{}",
                nearest.short(),
                sentences(&explanation.changes)
            )
        }
    }
}
