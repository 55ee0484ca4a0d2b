//! A resolved pipeline: what is stored with a run and what stages are started with.

use std::collections::BTreeSet;

use patchwork_config::OverPreset;
use patchwork_core::name::{PLAIN, is_plain};
use patchwork_terms::Kind;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::execution::Execution;
use crate::kinds::StageSettings;

/// A pipeline in which every setting that can change a result has its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Lower-case letters, digits, `-` and `_`; runs are named after it.
    #[serde(deserialize_with = "plain_name")]
    pub name: String,
    /// One sentence for listings; may be empty.
    pub description: String,
    /// The root of all randomness.
    pub seed: u64,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// What its file and the command line lay over the preset that it extends; for people who look at a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_preset: Option<OverPreset>,
}

impl Pipeline {
    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The stage of that name and all that it needs, in the order of the file; all stages without a name.
    pub fn needed(&self, until: Option<&str>) -> Vec<&Stage> {
        let Some(until) = until else {
            return self.stages.iter().collect();
        };
        let mut needed = BTreeSet::new();
        let mut open = vec![until];
        while let Some(name) = open.pop() {
            if needed.insert(name) {
                let needs = self.stage(name).into_iter().flat_map(|stage| &stage.needs);
                open.extend(needs.map(String::as_str));
            }
        }
        self.stages
            .iter()
            .filter(|stage| needed.contains(stage.name.as_str()))
            .collect()
    }
}

/// A pipeline with one combination of the values of its `[matrix]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Dotted keys and their values as text; empty for a pipeline without a `[matrix]`.
    pub values: Vec<(String, String)>,
    /// The pipeline.
    pub pipeline: Pipeline,
}

impl Variant {
    /// The dotted keys of its matrix.
    pub fn varied(&self) -> Vec<&str> {
        self.values.iter().map(|(key, _)| key.as_str()).collect()
    }
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StageRecord", into = "StageRecord")]
pub struct Stage {
    /// The name of its table; characters as in a pipeline's name.
    pub name: String,
    /// Names of the stages whose artifacts it reads; they exist, are of the kinds that this
    /// stage can use, and form no cycle.
    pub needs: Vec<String>,
    /// What can change its output.
    pub settings: StageSettings,
    /// What cannot.
    pub execution: Execution,
}

impl Stage {
    /// What the stage does.
    pub fn kind(&self) -> Kind {
        self.settings.kind()
    }
}

/// A name that may become a part of a path: a record that is read may have been written by anybody.
fn plain_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_plain(&name) {
        Ok(name)
    } else {
        Err(D::Error::custom(format!("the name {name:?}: {PLAIN}")))
    }
}

/// A stage as it is stored: settings carry their kind beside them.
#[derive(Serialize, Deserialize)]
struct StageRecord {
    #[serde(deserialize_with = "plain_name")]
    name: String,
    kind: Kind,
    needs: Vec<String>,
    settings: serde_json::Value,
    execution: Execution,
}

impl From<Stage> for StageRecord {
    fn from(stage: Stage) -> Self {
        Self {
            kind: stage.kind(),
            settings: serde_json::to_value(&stage.settings)
                .expect("settings are plain finite values with text keys"),
            name: stage.name,
            needs: stage.needs,
            execution: stage.execution,
        }
    }
}

impl TryFrom<StageRecord> for Stage {
    type Error = serde_json::Error;

    fn try_from(record: StageRecord) -> Result<Self, Self::Error> {
        Ok(Self {
            settings: StageSettings::from_json(record.kind, record.settings)?,
            name: record.name,
            needs: record.needs,
            execution: record.execution,
        })
    }
}
