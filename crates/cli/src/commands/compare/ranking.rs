//! The scores of a metric, best first, and what makes scores incomparable.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_registry::{HistoryRow, Registry, RunDetail, ScoreRow};
use serde_json::json;

use crate::arguments::CompareArguments;
use crate::error::CliError;
use crate::output::Rows;

pub(super) async fn rank(
    registry: &Registry,
    metric: &str,
    arguments: &CompareArguments,
) -> Result<(), CliError> {
    let mut history = registry
        .score_history(metric, arguments.pipeline.as_deref())
        .await?;
    if !arguments.runs.is_empty() {
        let mut named = BTreeSet::new();
        for selector in &arguments.runs {
            named.insert(registry.run(selector).await?.run.name);
        }
        history.retain(|row| named.contains(&row.run));
    }
    if history.is_empty() {
        return Err(CliError::NoScores {
            metric: metric.to_owned(),
            scope: arguments.pipeline.clone(),
            known: registry.score_metrics().await?.join(", "),
        });
    }
    let scores: Vec<(&str, &ScoreRow)> = history
        .iter()
        .map(|row| (row.run.as_str(), &row.score))
        .collect();
    let differences = differences(&scores);
    if !differences.is_empty() && !arguments.incomparable {
        return Err(CliError::Incomparable {
            metric: metric.to_owned(),
            differences: differences.join("\n"),
        });
    }
    table(&history).print(arguments.format)
}

fn table(history: &[HistoryRow]) -> Rows {
    let mut rows = Rows::new(&[
        "rank",
        "run",
        "of",
        "value",
        "deviation",
        "images seen",
        "samples",
        "reference images",
        "reference",
    ]);
    for (position, HistoryRow { run, score, .. }) in history.iter().enumerate() {
        rows.push(vec![
            json!(position + 1),
            json!(run),
            json!(score.subject),
            json!(score.value),
            json!(score.deviation),
            json!(score.images_seen),
            json!(score.samples),
            json!(score.reference_images),
            json!(score.reference),
        ]);
    }
    rows
}

/// For scores that stand in one row of a comparison: a sentence for each metric whose scores do not compare.
pub(super) fn warnings(runs: &[RunDetail]) -> Vec<String> {
    let mut by_metric: BTreeMap<&str, Vec<(&str, &ScoreRow)>> = BTreeMap::new();
    for run in runs {
        for score in run
            .scores
            .iter()
            .filter(|score| score.images_seen.is_some())
        {
            by_metric
                .entry(&score.metric)
                .or_default()
                .push((&run.run.name, score));
        }
    }
    by_metric
        .into_iter()
        .filter_map(|(metric, scores)| {
            let differences = differences(&scores);
            (!differences.is_empty()).then(|| {
                format!(
                    "warning: the scores of `{metric}` do not compare:\n{}",
                    differences.join("\n")
                )
            })
        })
        .collect()
}

/// One line for each circumstance in which scores differ that must not: its values, each with the runs that have it.
fn differences(scores: &[(&str, &ScoreRow)]) -> Vec<String> {
    type Fact = (&'static str, fn(&ScoreRow) -> String);
    const FACTS: [Fact; 7] = [
        ("extractor", |score| score.extractor.clone()),
        ("extractor weights", |score| score.extractor_hash.clone()),
        ("resize", |score| score.resize.clone()),
        ("image codec", |score| score.codec.clone()),
        ("reference", |score| {
            format!("{} ({} images)", score.reference, score.reference_images)
        }),
        ("origin of the reference", |score| {
            let foreign = "made elsewhere";
            (if score.reference_foreign {
                foreign
            } else {
                "own"
            })
            .to_owned()
        }),
        ("samples", |score| score.samples.to_string()),
    ];
    FACTS
        .iter()
        .filter_map(|(name, value)| {
            let mut values: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
            for (run, score) in scores {
                values.entry(value(score)).or_default().insert(run);
            }
            (values.len() > 1).then(|| {
                let values: Vec<String> = values
                    .into_iter()
                    .map(|(value, runs)| {
                        let runs: Vec<&str> = runs.into_iter().collect();
                        format!("{value} in {}", runs.join(", "))
                    })
                    .collect();
                format!("  {name}: {}", values.join("; "))
            })
        })
        .collect()
}
