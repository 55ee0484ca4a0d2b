//! The settings that distinguish ranked runs: of those that can change what comes out, the ones that differ.

use std::collections::BTreeMap;

use patchwork_comparison::{Facts, differing};
use patchwork_recipes::changes_results;
use patchwork_registry::Registry;
use serde_json::{Map, Value, json};

use crate::arguments::Format;
use crate::error::CliError;

/// So many settings of a run have room in a table.
const MOST_IN_TABLE: usize = 6;

/// Whether a run's parameter is the root of its randomness, which each training has among its settings.
pub(super) fn is_seed(key: &str) -> bool {
    key.strip_prefix("stages.")
        .and_then(|name| name.split_once('.'))
        .is_some_and(|(_, setting)| setting == "seed")
}

/// The settings in which some runs differ.
pub(super) struct SettingsApart {
    /// Such as `train.batch_size`.
    names: Vec<String>,
    by_run: BTreeMap<String, Facts>,
    seeds: BTreeMap<String, String>,
}

impl SettingsApart {
    /// Looks up the settings of runs that have a score of a metric.
    pub(super) async fn look_up<'a>(
        registry: &Registry,
        metric: &str,
        runs: impl Iterator<Item = &'a str>,
    ) -> Result<Self, CliError> {
        let mut by_run: BTreeMap<String, Facts> =
            runs.map(|run| (run.to_owned(), Facts::new())).collect();
        let mut seeds = BTreeMap::new();
        for (run, key, value) in registry.score_settings(metric).await? {
            if is_seed(&key) {
                seeds.insert(run.clone(), value.clone());
            }
            if let Some(facts) = by_run.get_mut(&run)
                && let Some(name) = outcome_setting(&key)
            {
                facts.insert(name.to_owned(), value);
            }
        }
        let names = differing(&by_run.values().collect::<Vec<_>>());
        Ok(Self {
            names,
            by_run,
            seeds,
        })
    }

    /// The root of a run's randomness, as it is recorded.
    pub(super) fn seed(&self, run: &str) -> &str {
        self.seeds.get(run).map_or("", String::as_str)
    }

    /// All settings of a run that can change what comes out.
    pub(super) fn all(&self, run: &str) -> Option<&Facts> {
        self.by_run.get(run)
    }

    /// The same without seeds, for runs that are taken together.
    pub(super) fn without_seeds(mut self) -> Self {
        let is_other = |name: &str| !is_seed(&format!("stages.{name}"));
        self.names.retain(|name| is_other(name));
        for facts in self.by_run.values_mut() {
            facts.retain(|name, _| is_other(name));
        }
        self
    }

    /// A setting of a run by a name such as `train.batch_size`, whether other runs have the same or not.
    pub(super) fn value(&self, run: &str, name: &str) -> Option<&str> {
        self.by_run.get(run)?.get(name).map(String::as_str)
    }

    /// Those of a run: an object for JSON, text otherwise, which leaves out what the run does not have.
    pub(super) fn of_run(&self, run: &str, format: Format) -> Value {
        let value = |name: &String| self.value(run, name);
        if format == Format::Json {
            let settings: Map<String, Value> = self
                .names
                .iter()
                .map(|name| (name.clone(), json!(value(name))))
                .collect();
            return Value::Object(settings);
        }
        let mut settings: Vec<String> = self
            .names
            .iter()
            .filter_map(|name| Some(format!("{name}={}", value(name)?)))
            .collect();
        if format == Format::Table && settings.len() > MOST_IN_TABLE {
            settings.truncate(MOST_IN_TABLE);
            settings.push("…".to_owned());
        }
        json!(settings.join(" "))
    }
}

/// `stages.train.batch_size` as `train.batch_size`; none for a setting that changes nothing in what comes out.
pub(super) fn outcome_setting(key: &str) -> Option<&str> {
    let name = key.strip_prefix("stages.")?;
    let (_, setting) = name.split_once('.')?;
    changes_results(setting).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_no_result_is_left_out() {
        for (key, name) in [
            ("stages.train.batch_size", Some("train.batch_size")),
            (
                "stages.train.network.dropout",
                Some("train.network.dropout"),
            ),
            ("stages.train.tf32", Some("train.tf32")),
            ("stages.train.device", None),
            ("stages.train.checkpoint_minutes", None),
            ("stages.train.init_file", None),
            ("stages.sample.environment.CUDA_DEVICE_ORDER", None),
        ] {
            assert_eq!(outcome_setting(key), name, "{key}");
        }
    }

    #[test]
    fn a_table_shows_the_first_settings_and_programs_get_all() {
        let settings = |value: &str| -> Facts {
            (0..8)
                .map(|number| (format!("train.s{number}"), value.to_owned()))
                .collect()
        };
        let by_run = BTreeMap::from([
            ("a-1".to_owned(), settings("1")),
            ("a-2".to_owned(), settings("2")),
            ("a-3".to_owned(), Facts::new()),
        ]);
        let names = differing(&by_run.values().collect::<Vec<_>>());
        let apart = SettingsApart {
            names,
            by_run,
            seeds: BTreeMap::new(),
        };
        assert_eq!(
            apart.of_run("a-1", Format::Table),
            "train.s0=1 train.s1=1 train.s2=1 train.s3=1 train.s4=1 train.s5=1 …"
        );
        let text = apart.of_run("a-2", Format::Csv);
        assert!(text.as_str().unwrap().ends_with("train.s6=2 train.s7=2"));
        assert_eq!(apart.of_run("a-3", Format::Table), "");
        let object = apart.of_run("a-3", Format::Json);
        assert_eq!(object.as_object().unwrap().len(), 8);
        assert_eq!(object["train.s7"], Value::Null);
    }
}
