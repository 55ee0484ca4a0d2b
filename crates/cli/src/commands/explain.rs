//! `patchwork explain`: what a run would do with each stage, and why.

use patchwork_pipeline::explain::{Change, Explanation, Fate, explain};
use serde_json::json;

use super::request::Request;
use super::run::scope;
use crate::arguments::{Arguments, ExplainArguments, Format};
use crate::error::CliError;
use crate::output::{Rows, line};

pub(crate) fn explain_pipeline(
    arguments: &Arguments,
    options: &ExplainArguments,
) -> Result<(), CliError> {
    let variants = patchwork_config::load(&options.pipeline.file, &options.pipeline.set)?;
    let mut explanations = Vec::new();
    for variant in &variants {
        let request = Request {
            pipeline: &variant.pipeline,
            scope: scope(&options.pipeline),
            force: &[],
            jobs: None,
            rehash: options.pipeline.rehash,
        };
        let planned = request.plan(arguments)?;
        explanations.extend(explain(&planned.plan, &planned.store)?);
    }
    match options.format {
        Format::Json => {
            line(&serde_json::to_string_pretty(&explanations).expect("explanations are plain data"))
        }
        Format::Table | Format::Csv => {
            let mut rows = Rows::new(&["stage", "would be", "because"]);
            for explanation in &explanations {
                let fate = match explanation.fate {
                    Fate::Cached => "cached",
                    Fate::GoOn => "gone on with",
                    Fate::Run => "run",
                };
                rows.push(vec![
                    json!(explanation.stage),
                    json!(fate),
                    json!(because(explanation)),
                ]);
            }
            rows.print(options.format)
        }
    }
}

fn because(explanation: &Explanation) -> String {
    match (explanation.fate, explanation.nearest) {
        (Fate::Cached, _) => format!("its artifact {} is there", explanation.fingerprint.short()),
        (Fate::GoOn, _) => "an earlier attempt was stopped on the way".to_owned(),
        (Fate::Run, None) => format!("there is no {} artifact yet", explanation.kind),
        (Fate::Run, Some(nearest)) => {
            let changes: Vec<String> = explanation.changes.iter().map(sentence).collect();
            format!(
                "unlike in artifact {}:\n{}",
                nearest.short(),
                changes.join("\n")
            )
        }
    }
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
