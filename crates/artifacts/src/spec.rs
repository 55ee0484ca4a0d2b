//! What a pipeline is to supervisor and workers: named stages with settings as data.

use std::time::Duration;

use patchwork_core::{Digest, Fingerprint};
use serde_json::{Value, json};

use crate::manifest::ManifestInput;

/// A whole pipeline, resolved and checked.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// The name that its runs are called after.
    pub name: String,
    /// The resolved pipeline as it is recorded with each run.
    pub definition: Value,
    /// The stages, in the order of the file.
    pub stages: Vec<StageSpec>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug)]
pub struct StageSpec {
    /// Its name in this pipeline, unique.
    pub name: String,
    /// What it does, such as `train`.
    pub kind: String,
    /// The version of what this kind of stage writes: raised when equal settings give other bytes.
    pub format_version: u32,
    /// The stages whose artifacts it reads, in the order in which it reads them.
    pub needs: Vec<String>,
    /// The settings that can change its output.
    pub settings: Value,
    /// The settings that cannot: threads, device, cadence of checkpoints.
    pub execution: Value,
    /// The digest of the raw data that it reads besides its inputs.
    pub source: Option<Digest>,
    /// The fingerprint of an external artifact ([`crate::Store::link_external`]), which is used as it is; none for a stage
    /// whose artifact is named by what goes into it.
    pub external: Option<Fingerprint>,
    /// The inputs from outside of the pipeline that are missing. A stage that is cached does not need them.
    pub missing: Vec<MissingInput>,
    /// What it takes of the machine while it runs.
    pub demand: Demand,
    /// How often a failure that may pass is tried again.
    pub retries: u32,
    /// After how long an attempt is stopped.
    pub timeout: Option<Duration>,
}

impl StageSpec {
    /// The name of the artifact that the stage makes of `inputs`, which stand in the order of its `needs`: everything that
    /// can change its bytes goes in, and nothing else.
    pub fn fingerprint(&self, inputs: &[ManifestInput]) -> Fingerprint {
        self.external.unwrap_or_else(|| {
            Fingerprint::of(&json!({
                "kind": self.kind,
                "format_version": self.format_version,
                "settings": self.settings,
                "source": self.source,
                "inputs": inputs,
            }))
        })
    }
}

/// Something that a stage reads from outside of the pipeline and that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingInput {
    /// What it is, in a word, such as `source` or `weights`.
    pub what: &'static str,
    /// What is missing, and what puts it there.
    pub problem: String,
    /// Whether all that the stage's fingerprint says of it is known, as it is of what was read before.
    pub is_known: bool,
    /// Whether an attempt that resumes an earlier one does without.
    pub is_for_beginning: bool,
}

/// What a stage takes of the machine: stages run at once as long as there is enough for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Processor cores; none = all.
    pub cpus: Option<usize>,
    /// Memory; none = not said, and not counted.
    pub memory_bytes: Option<u64>,
    /// Accelerators, which it has for itself; [`Demand::EVERY_GPU`] is all of the machine.
    pub devices: Vec<String>,
}

impl Demand {
    /// The device that is all GPUs of the machine.
    pub const EVERY_GPU: &'static str = "cuda";
}
