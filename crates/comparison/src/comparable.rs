//! What makes scores incomparable.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_registry::{RunDetail, ScoreRow};
use patchwork_terms::Quantity;

/// For scores that stand in one row of a comparison: a sentence for each metric whose scores do not compare.
pub fn warnings(runs: &[RunDetail]) -> Vec<String> {
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
    let setting = |run: &str, name: &str| {
        let run = runs.iter().find(|known| known.run.name == run)?;
        let mut params = run.params.iter();
        let (_, value) = params.find(|(key, _)| key.strip_prefix("stages.") == Some(name))?;
        Some(value.clone())
    };
    by_metric
        .into_iter()
        .filter_map(|(metric, scores)| {
            let differences = differences(&scores, setting);
            (!differences.is_empty()).then(|| warning(metric, &differences))
        })
        .collect()
}

/// Scores that do not compare, in words.
pub fn warning(metric: &str, differences: &[String]) -> String {
    format!(
        "warning: the scores of `{metric}` do not compare:\n{}",
        differences.join("\n")
    )
}

/// One line for each circumstance in which scores of a metric differ that must not: its values, each with the runs that
/// have it. `setting` gives a run's setting by a name such as `evaluate.nearest_k`.
pub fn differences(
    scores: &[(&str, &ScoreRow)],
    setting: impl Fn(&str, &str) -> Option<String>,
) -> Vec<String> {
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
            let origin = if score.reference_foreign {
                "external"
            } else {
                "own"
            };
            origin.to_owned()
        }),
        ("samples", |score| score.samples.to_string()),
    ];
    let of_evaluation = |score: &ScoreRow, run: &str, name: &str| {
        let value = setting(run, &format!("{}.{name}", score.stage));
        value.unwrap_or_else(|| "not recorded".to_owned())
    };
    let facts = FACTS
        .iter()
        .map(|&(name, value)| difference(name, scores, |_, score| value(score)));
    let quantity = scores
        .first()
        .and_then(|(_, score)| Quantity::from_name(&score.quantity));
    let settings = quantity
        .map_or(&[][..], Quantity::settings)
        .iter()
        .map(|&name| difference(name, scores, |run, score| of_evaluation(score, run, name)));
    facts.chain(settings).flatten().collect()
}

/// The values of something in which scores differ, each with the runs that have it; none where they do not differ.
fn difference(
    name: &str,
    scores: &[(&str, &ScoreRow)],
    value: impl Fn(&str, &ScoreRow) -> String,
) -> Option<String> {
    let mut values: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for &(run, score) in scores {
        values.entry(value(run, score)).or_default().insert(run);
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
}
