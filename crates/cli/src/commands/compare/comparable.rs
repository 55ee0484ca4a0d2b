//! What makes scores incomparable.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_registry::{RunDetail, ScoreRow};

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
            (!differences.is_empty()).then(|| warning(metric, &differences))
        })
        .collect()
}

/// Scores that do not compare, in words.
pub(super) fn warning(metric: &str, differences: &[String]) -> String {
    format!(
        "warning: the scores of `{metric}` do not compare:\n{}",
        differences.join("\n")
    )
}

/// One line for each circumstance in which scores differ that must not: its values, each with the runs that have it.
pub(super) fn differences(scores: &[(&str, &ScoreRow)]) -> Vec<String> {
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
