//! A resolved pipeline: what is stored with a run and what stages are started with.

use std::collections::BTreeSet;

use patchwork_terms::{Kind, OnDivergence};
use serde::{Deserialize, Serialize};

use crate::settings::StageSettings;

/// A pipeline in which every setting that can change a result has its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Lower-case letters, digits, `-` and `_`; runs are named after it.
    pub name: String,
    /// One sentence for listings; may be empty.
    pub description: String,
    /// The root of all randomness.
    pub seed: u64,
    /// In the order of the file.
    pub stages: Vec<Stage>,
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

/// How a stage is run: no part of its fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Execution {
    /// Threads of the worker, at least 1; none = all cores.
    pub threads: Option<usize>,
    /// Processes that train together, at least 1; each has `threads` threads, and a GPU of its own where `device` is
    /// `cuda`.
    #[serde(skip_serializing_if = "is_one")]
    pub ranks: u32,
    /// How long one of these processes waits for the others in a step, in minutes.
    #[serde(skip_serializing_if = "is_default_timeout")]
    pub collective_timeout_minutes: f64,
    /// Processor cores that it takes while it runs, at least 1; none = as many as `threads`.
    pub cpus: Option<usize>,
    /// Memory that it takes while it runs, in GiB; none = not counted.
    pub memory_gib: Option<f64>,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Whether a CUDA device may round the factors of float32 products to TF32; this alone of the execution's
    /// settings changes what a stage gives, and is part of the fingerprint where it is on.
    pub tf32: bool,
    /// Whether cuDNN tries its algorithms on each new shape and keeps the fastest, which need not be the same in
    /// every process.
    pub cudnn_benchmark: bool,
    /// How often a stage that failed for a cause that may pass is started again.
    pub retries: u32,
    /// The stage fails when it takes longer, in minutes.
    pub timeout_minutes: Option<f64>,
    /// Between two checkpoints of training, in minutes.
    pub checkpoint_minutes: f64,
    /// Between two checkpoints of training, in thousands of images; none = by the minutes alone.
    pub checkpoint_kimg: Option<f64>,
    /// Training stops at a checkpoint after so many minutes, to go on when it is run again.
    pub max_minutes: Option<f64>,
    /// Training stops at a checkpoint at so many thousand images seen, to go on when it is run with a later one.
    pub max_kimg: Option<f64>,
    /// What training does when it diverges.
    pub on_divergence: OnDivergence,
    /// A training that makes no step for so many minutes is ended as failed; none = it is only told.
    pub stall_minutes: Option<f64>,
    /// Between two recorded points of training's progress, in seconds.
    pub log_every_seconds: f64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_one(ranks: &u32) -> bool {
    *ranks == 1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_default_timeout(minutes: &f64) -> bool {
    minutes.to_bits() == COLLECTIVE_TIMEOUT_MINUTES.to_bits()
}

/// Long enough for the slowest step.
const COLLECTIVE_TIMEOUT_MINUTES: f64 = 10.0;

impl Default for Execution {
    fn default() -> Self {
        Self {
            threads: None,
            ranks: 1,
            collective_timeout_minutes: COLLECTIVE_TIMEOUT_MINUTES,
            cpus: None,
            memory_gib: None,
            device: "cpu".to_owned(),
            tf32: false,
            cudnn_benchmark: true,
            retries: 0,
            timeout_minutes: None,
            checkpoint_minutes: 5.0,
            checkpoint_kimg: None,
            max_minutes: None,
            max_kimg: None,
            on_divergence: OnDivergence::Stop,
            stall_minutes: None,
            log_every_seconds: 5.0,
        }
    }
}

/// A stage as it is stored: settings carry their kind beside them.
#[derive(Serialize, Deserialize)]
struct StageRecord {
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
