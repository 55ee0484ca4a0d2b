//! What a supervisor asks of a worker: one JSON object, a line of its standard input.
//!
//! The supervisor keeps that pipe open: when it closes, the supervisor is gone and the worker ends at its next durable
//! point. The worker writes [`Event`](crate::event::Event)s to file descriptor 3, one JSON object a line.

use std::path::PathBuf;

use patchwork_core::{Digest, Fingerprint};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::ManifestInput;

/// One attempt at one stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The stage's name.
    pub stage: String,
    /// The stage's kind.
    pub kind: String,
    /// The version of what the kind writes.
    pub format_version: u32,
    /// The fingerprint of what is to be made.
    pub fingerprint: Fingerprint,
    /// The settings that can change the output.
    pub settings: Value,
    /// The settings that cannot.
    pub execution: Value,
    /// The digest of the raw data.
    pub source: Option<Digest>,
    /// The inputs, in the order of the stage's `needs`.
    pub inputs: Vec<JobInput>,
    /// The home folder.
    pub home: PathBuf,
    /// The run's folder for logs.
    pub logs: PathBuf,
}

/// An artifact that a job reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobInput {
    /// The name of the stage that made it.
    pub stage: String,
    /// Kind and fingerprint.
    #[serde(flatten)]
    pub input: ManifestInput,
    /// Its folder.
    pub folder: PathBuf,
}
