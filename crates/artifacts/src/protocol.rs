//! What a supervisor asks of a worker: one JSON object, a line of its standard input.
//!
//! The supervisor keeps that pipe open: when it closes, the supervisor is gone and the worker ends at its next durable
//! point. The worker writes [`Event`](crate::event::Event)s to file descriptor 3, one JSON object a line.

use std::path::PathBuf;

use patchwork_core::{Digest, Fingerprint, Membership};
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
    /// The place of the process among those that work on the job together; none where it is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Job {
    /// How many processes work on the job together.
    pub fn ranks(&self) -> u32 {
        let ranks = self.execution["ranks"].as_u64();
        ranks.map_or(1, |ranks| u32::try_from(ranks).unwrap_or(u32::MAX).max(1))
    }

    /// Whether this process is the one that makes the artifact.
    pub fn is_first(&self) -> bool {
        self.place
            .as_ref()
            .is_none_or(|place| place.membership.rank == 0)
    }
}

/// Which of several processes that work on one job a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which rank of how many it is. Rank 0 holds the lock, reports, and publishes the artifact.
    pub membership: Membership,
    /// The file by which they find each other, of this attempt alone.
    pub rendezvous: PathBuf,
    /// Whether some of them may be on other machines.
    pub across_machines: bool,
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
