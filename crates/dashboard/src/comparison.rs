//! Several runs beside each other: the settings in which they differ, their scores, and whether these can be ranked.

use std::collections::BTreeSet;

use patchwork_comparison::{Facts, differences, differing, without_absent_stages};
use patchwork_registry::{RunDetail, ScoreRow};
use serde_json::{Value, json};

use crate::error::DashboardError;
use crate::home::Home;
use crate::pictures::{self, Pictures};

/// Maximum number of runs side by side.
pub(crate) const MOST: usize = 24;

/// What the address of a comparison says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Names of runs.
    pub(crate) runs: Vec<String>,
    /// The ranking's metric; none is that of the first run with a score.
    metric: Option<String>,
    /// The setting along the scatter's axis.
    setting: Option<String>,
}

impl Asked {
    /// These runs, and nothing particular.
    pub(crate) fn runs(names: &[String]) -> Self {
        Self {
            runs: names.to_vec(),
            ..Self::default()
        }
    }

    /// `run=A&run=B`, as the list of runs sends it, and `runs=A,B`.
    pub(crate) fn of(pairs: Vec<(String, String)>) -> Self {
        let mut asked = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "run" => asked.runs.push(value),
                "runs" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    asked.runs.extend(names.map(str::to_owned));
                }
                "metric" => asked.metric = Some(value).filter(|value| !value.is_empty()),
                "setting" => asked.setting = Some(value).filter(|value| !value.is_empty()),
                _ => {}
            }
        }
        asked
    }
}

/// Runs, and what is to be said of them together.
pub(crate) struct Comparison {
    /// Each once, in the order of the address.
    pub(crate) runs: Vec<RunDetail>,
    /// Of each run.
    pub(crate) pictures: Vec<Pictures>,
    /// The settings that differ, with the value of each run.
    pub(crate) settings: Vec<(String, Vec<Option<String>>)>,
    /// The ranking's metric; none where no run has a score.
    pub(crate) metric: Option<String>,
    /// All that can be chosen.
    pub(crate) metrics: BTreeSet<String>,
    /// Scores of the metric, each with its run.
    pub(crate) scores: Vec<(String, ScoreRow)>,
    /// Why these cannot be ranked, a line each.
    pub(crate) differences: Vec<String>,
    /// The setting along the scatter's axis.
    pub(crate) setting: Option<String>,
}

/// Looks the runs up, and compares them.
pub(crate) async fn gather(home: &Home, asked: &Asked) -> Result<Comparison, DashboardError> {
    let registry = home.registry().await?;
    if asked.runs.is_empty() {
        let text =
            "name the runs to compare: select them in the list of runs, or write /compare?runs=A,B";
        return Err(DashboardError::Request(text.to_owned()));
    }
    if asked.runs.len() > MOST {
        let text = format!(
            "{} runs were asked for, and {MOST} fit on a page",
            asked.runs.len()
        );
        return Err(DashboardError::Request(text));
    }
    let (mut runs, mut pictures): (Vec<RunDetail>, Vec<Pictures>) = (Vec::new(), Vec::new());
    for name in &asked.runs {
        let run = registry.run(name).await?;
        if runs.iter().all(|known| known.run.id != run.run.id) {
            pictures.push(pictures::of_run(home, &run).await?);
            runs.push(run);
        }
    }
    let mut facts: Vec<Facts> = runs
        .iter()
        .map(|run| run.params.iter().cloned().collect())
        .collect();
    without_absent_stages(&mut facts);
    let settings: Vec<(String, Vec<Option<String>>)> = differing(&facts.iter().collect::<Vec<_>>())
        .into_iter()
        .map(|key| {
            let values = facts.iter().map(|facts| facts.get(&key).cloned()).collect();
            (key, values)
        })
        .collect();
    let trained = |run: &RunDetail| -> Vec<ScoreRow> {
        let scores = run
            .scores
            .iter()
            .filter(|score| score.images_seen.is_some());
        scores.cloned().collect()
    };
    let metrics: BTreeSet<String> = runs
        .iter()
        .flat_map(|run| trained(run).into_iter().map(|score| score.metric))
        .collect();
    let first = || runs.iter().find_map(|run| run.run.metric.clone());
    let metric = asked.metric.clone().or_else(first);
    let mut scores: Vec<(String, ScoreRow)> = Vec::new();
    for run in &runs {
        let scores_of_run = trained(run).into_iter();
        let wanted = scores_of_run.filter(|score| Some(&score.metric) == metric.as_ref());
        scores.extend(wanted.map(|score| (run.run.name.clone(), score)));
    }
    let setting = |run: &str, name: &str| {
        let run = runs.iter().find(|known| known.run.name == run)?;
        let mut params = run.params.iter();
        let found = params.find(|(key, _)| key.strip_prefix("stages.") == Some(name));
        found.map(|(_, value)| value.clone())
    };
    let borrowed: Vec<(&str, &ScoreRow)> = scores
        .iter()
        .map(|(run, score)| (run.as_str(), score))
        .collect();
    let differences = differences(&borrowed, setting);
    if differences.is_empty() {
        scores.sort_by(|(_, one), (_, other)| {
            let rising = one.value.total_cmp(&other.value);
            if one.higher_is_better {
                rising.reverse()
            } else {
                rising
            }
        });
    }
    let has_score: Vec<bool> = runs
        .iter()
        .map(|run| scores.iter().any(|(name, _)| *name == run.run.name))
        .collect();
    let setting = asked.setting.clone();
    let setting = setting.or_else(|| first_setting(&settings, &has_score));
    Ok(Comparison {
        runs,
        pictures,
        settings,
        metric,
        metrics,
        scores,
        differences,
        setting,
    })
}

impl Comparison {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.runs.iter().map(|run| run.run.name.as_str()).collect()
    }

    /// Changes every text that may name a folder of the machine.
    pub(crate) fn shorten(&mut self, shortened: impl Fn(&str) -> String) {
        let values = self
            .settings
            .iter_mut()
            .flat_map(|(_, values)| values)
            .flatten();
        for value in values {
            *value = shortened(value);
        }
    }

    /// As JSON: the names, the settings that differ, the scores of the metric, and why they cannot be ranked.
    pub(crate) fn json(&self) -> Value {
        let names = self.names();
        let settings: Vec<Value> = self
            .settings
            .iter()
            .map(|(key, values)| {
                let mut row = serde_json::Map::from_iter([("what".to_owned(), json!(key))]);
                row.extend(
                    names
                        .iter()
                        .zip(values)
                        .map(|(name, value)| ((*name).to_owned(), json!(value))),
                );
                row.into()
            })
            .collect();
        let scores: Vec<Value> = self
            .scores
            .iter()
            .map(|(run, score)| json!({ "run": run, "score": score }))
            .collect();
        json!({
            "runs": names, "settings": settings, "metric": self.metric, "scores": scores,
            "incomparable": self.differences,
        })
    }
}

/// The setting that scores are plotted against where none is chosen: of those in which the runs with a score differ, the
/// first that is a number in all of them, or the first.
fn first_setting(settings: &[(String, Vec<Option<String>>)], has_score: &[bool]) -> Option<String> {
    let is_number = |value: &Option<String>| {
        let number = value.as_ref().and_then(|value| value.parse::<f64>().ok());
        number.is_some_and(f64::is_finite)
    };
    let of_scores = |values: &[Option<String>]| -> Vec<Option<String>> {
        let values = values.iter().zip(has_score);
        let scored = values.filter(|(_, has_score)| **has_score);
        scored.map(|(value, _)| value.clone()).collect()
    };
    let differing: Vec<(&String, Vec<Option<String>>)> = settings
        .iter()
        .map(|(key, values)| (key, of_scores(values)))
        .filter(|(_, values)| values.iter().any(|value| *value != values[0]))
        .collect();
    let mut all = differing.iter();
    let numeric = all.find(|(_, values)| values.iter().all(is_number));
    let first = numeric.or(differing.first());
    first.map(|(key, _)| (*key).clone())
}

#[cfg(test)]
mod tests {
    use super::{Asked, first_setting};

    #[test]
    fn scores_are_plotted_against_what_their_runs_differ_in() {
        let row = |key: &str, values: [&str; 3]| {
            let values = values.map(|value| Some(value.to_owned()).filter(|text| text != "-"));
            (key.to_owned(), values.to_vec())
        };
        let settings = [
            row("images_per_shard", ["64", "64", "1024"]),
            row("solver", ["heun", "dpmpp", "-"]),
            row("batch_size", ["8", "16", "-"]),
        ];
        for (has_score, expected) in [
            ([true, true, false], Some("batch_size")),
            ([true, true, true], Some("images_per_shard")),
            ([true, false, false], None),
            ([false, false, false], None),
        ] {
            assert_eq!(first_setting(&settings, &has_score).as_deref(), expected);
        }
        assert_eq!(
            first_setting(&settings[1..2], &[true, true, false]).as_deref(),
            Some("solver")
        );
    }

    #[test]
    fn runs_come_from_a_list_or_from_boxes() {
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()));
            Asked::of(pairs.collect())
        };
        assert_eq!(
            pairs(&[("runs", "a,b"), ("run", "c"), ("x", "y")]).runs,
            ["a", "b", "c"]
        );
        assert_eq!(
            pairs(&[("metric", ""), ("setting", "seed")])
                .setting
                .as_deref(),
            Some("seed")
        );
        assert!(pairs(&[("runs", ",")]).runs.is_empty());
    }
}
