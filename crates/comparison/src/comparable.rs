//! What makes scores incomparable.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_registry::{MetricFamily, RunDetail, ScoreRow};

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
            let differences = differences(metric, &scores, setting);
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
    metric: &str,
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
    let of_evaluation = |score: &ScoreRow, run: &str, name: &str| {
        let value = setting(run, &format!("{}.{name}", score.stage));
        value.unwrap_or_else(|| "not recorded".to_owned())
    };
    let facts = FACTS
        .iter()
        .map(|&(name, value)| difference(name, scores, |_, score| value(score)));
    let settings = evaluation_settings(metric)
        .iter()
        .map(|&name| difference(name, scores, |run, score| of_evaluation(score, run, name)));
    facts.chain(settings).flatten().collect()
}

/// The settings of an evaluation that its scores of a metric depend on, beside what is recorded with each score.
fn evaluation_settings(metric: &str) -> &'static [&'static str] {
    match MetricFamily::of(metric) {
        MetricFamily::Frechet => &[],
        MetricFamily::Kernel => &["kernel_subsets", "kernel_subset_images"],
        MetricFamily::Manifold => &["nearest_k"],
    }
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

#[cfg(test)]
mod tests {
    use patchwork_weights::{ExtractorSpec, Network, Quantity, Resize};

    use super::*;

    #[test]
    fn every_metric_depends_on_the_settings_of_its_quantity() {
        let extractors = [
            ExtractorSpec::new(Network::InceptionV3),
            ExtractorSpec {
                network: Network::InceptionV3,
                resize: Resize::Clean,
            },
            ExtractorSpec::new(Network::EfficientNetLite0),
        ];
        let expected: [(Quantity, &[&str]); 10] = [
            (Quantity::Frechet, &[]),
            (Quantity::FrechetInfinity, &[]),
            (Quantity::FrechetCropHalf, &[]),
            (Quantity::FrechetCropQuarter, &[]),
            (Quantity::FrechetSpatial, &[]),
            (
                Quantity::Kernel,
                &["kernel_subsets", "kernel_subset_images"],
            ),
            (Quantity::Precision, &["nearest_k"]),
            (Quantity::Recall, &["nearest_k"]),
            (Quantity::Density, &["nearest_k"]),
            (Quantity::Coverage, &["nearest_k"]),
        ];
        for (quantity, settings) in expected {
            for extractor in &extractors {
                let metric = extractor.metric_name(quantity);
                assert_eq!(evaluation_settings(&metric), settings, "{metric}");
            }
        }
    }
}
