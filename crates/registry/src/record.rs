//! What writers hand to the registry.

use std::time::SystemTime;

use patchwork_core::Fingerprint;

use crate::status::named;

/// A run that is about to start.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The pipeline's name, which the run is called after.
    pub pipeline: String,
    /// The lowest number that the run may have: every number from it on is unused outside the registry too.
    pub least_number: i64,
    /// The resolved pipeline, JSON.
    pub definition_json: String,
    /// The command line.
    pub command: String,
    /// Where it was typed.
    pub working_folder: String,
    /// The revision of the repository that the folder lies in.
    pub git_revision: Option<String>,
    /// Whether that repository had uncommitted changes.
    pub git_dirty: Option<bool>,
    /// The machine's name.
    pub host: String,
    /// The processor's name.
    pub cpu: String,
    /// Threads that the machine offers.
    pub threads: usize,
    /// The names of its graphics processors, with commas; none where it has none.
    pub gpus: Option<String>,
    /// Versions of the program and its libraries, a JSON object.
    pub versions_json: String,
    /// Every setting: dotted key and value.
    pub params: Vec<(String, String)>,
    /// The stages.
    pub stages: Vec<NewStage>,
}

/// A stage of a run that is about to start.
#[derive(Clone, Debug)]
pub struct NewStage {
    /// Unique in the run.
    pub name: String,
    /// What it does, such as `train`.
    pub kind: String,
    /// Of the artifact that it is to make.
    pub fingerprint: Fingerprint,
    /// In the pipeline, from 0.
    pub position: usize,
}

/// A run as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// The key of the table `runs`.
    pub id: i64,
    /// The pipeline's name and the next free number: `demo-3`.
    pub name: String,
    /// When it started, RFC 3339 in UTC.
    pub started: String,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Exit status, signal, or what else ended it.
    pub exit: String,
    /// The error and its causes, one a line.
    pub error: Option<String>,
}

/// A finished artifact.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// The kind of stage that made it.
    pub kind: String,
    /// Its folder below the home folder.
    pub path: String,
    /// The sum of its files.
    pub bytes: u64,
    /// What it was made from: what the input is to the stage, and which.
    pub inputs: Vec<(String, Fingerprint)>,
    /// What its stage reported, JSON.
    pub summary_json: String,
}

/// One measured value.
#[derive(Clone, Debug)]
pub struct MetricPoint {
    /// The series, such as `loss`.
    pub name: String,
    /// What the series goes along, such as images seen. A step recorded again replaces the first.
    pub step: i64,
    /// The value; not-a-number is stored as null.
    pub value: f64,
    /// When it was measured.
    pub time: SystemTime,
}

/// A distance, with all that another must share to be compared with it.
#[derive(Clone, Debug)]
pub struct NewScore {
    /// What was measured: a sample stage's name, `noise`, `real-halves`.
    pub subject: String,
    /// Such as `fd_efficientnet_lite0`.
    pub metric: String,
    /// The distance.
    pub value: f64,
    /// Its standard deviation, where it was estimated.
    pub deviation: Option<f64>,
    /// The network whose features were compared.
    pub extractor: String,
    /// The hash of its weights.
    pub extractor_hash: String,
    /// How images were brought to its size.
    pub resize: String,
    /// The statistics compared with.
    pub reference: Fingerprint,
    /// Images behind these; 0 where nobody knows.
    pub reference_images: u64,
    /// Whether these were made elsewhere.
    pub reference_foreign: bool,
    /// Images that were measured.
    pub samples: u64,
    /// Their seeds, such as `0-999`.
    pub seeds: String,
    /// What their pixels went through, such as `none` or `png`.
    pub codec: String,
    /// Images that the network had seen in training; none for baselines.
    pub images_seen: Option<u64>,
    /// When it was measured, RFC 3339 in UTC.
    pub time: String,
}

named! {
    /// How much an event matters.
    pub enum EventLevel {
        /// Worth knowing.
        Info = "info",
        /// Something is not as it should be.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}
