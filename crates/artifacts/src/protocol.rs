//! What supervisor and worker say to each other: one JSON object a line.
//!
//! The supervisor writes the [`Job`] to the worker's standard input and keeps that pipe open: when it closes,
//! the supervisor is gone and the worker ends at its next durable point. The worker writes [`Event`]s to file descriptor 3.

use std::path::PathBuf;

use patchwork_core::{Digest, Fingerprint};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::manifest::{ManifestInput, Outcome};

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
}

/// Which of several processes that work on one job a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its number, from 0. Rank 0 holds the lock, reports, and publishes the artifact.
    pub rank: u32,
    /// How many there are.
    pub ranks: u32,
    /// Its number among those of its machine, from 0.
    pub local_rank: u32,
    /// The file by which they find each other, of this attempt alone.
    pub rendezvous: PathBuf,
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

/// What a worker reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Another process works on the same fingerprint; this one waits for it.
    Waiting,
    /// So much of the stage is done.
    Progress(Progress),
    /// A measurement at a step.
    Metric {
        /// Its name.
        name: String,
        /// The step, in the stage's own unit (images seen, for training).
        step: u64,
        /// Its value. JSON writes null for what is no finite number, which is read as not-a-number.
        #[serde(deserialize_with = "number_or_nan")]
        value: f64,
    },
    /// The stage goes on from this step: what an earlier attempt said of later ones no longer holds.
    Resumed {
        /// The step, in the unit of the stage's measurements.
        step: u64,
    },
    /// What the worker has taken of the machine so far.
    Resources {
        /// Processor time of all threads.
        cpu_seconds: f64,
        /// The most memory that was resident at once.
        peak_memory_bytes: u64,
    },
    /// Something that a person should know, though the stage goes on.
    Warning {
        /// The message.
        message: String,
    },
    /// The artifact is in place.
    Finished {
        /// Whether another process had made it while this one waited.
        cached: bool,
        /// What the stage found.
        outcome: Outcome,
    },
    /// The stage stopped and can go on from there.
    Interrupted {
        /// Why, if it was not asked to.
        cause: Option<String>,
    },
    /// The stage failed.
    Failed {
        /// The error and its causes, outermost first.
        chain: Vec<String>,
        /// Whether trying again may help.
        transient: bool,
    },
}

/// How far a stage is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, of `total`.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
    /// How much was done already when this attempt began, which the rate leaves out.
    pub resumed: u64,
    /// What is counted, in the plural: "images".
    pub unit: String,
    /// A short remark, such as the loss.
    pub note: String,
}

fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number: Option<f64> = Option::deserialize(deserializer)?;
    Ok(number.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(value: f64) -> Event {
        Event::Metric {
            name: "loss".to_owned(),
            step: 3,
            value,
        }
    }

    fn received(event: &Event) -> Event {
        let line = serde_json::to_string(event).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_measurement_that_is_no_number_arrives() {
        for value in [f64::NAN, f64::INFINITY] {
            let event = received(&metric(value));
            assert!(
                matches!(&event, Event::Metric { step: 3, value, .. } if value.is_nan()),
                "{event:?}"
            );
        }
        assert_eq!(received(&metric(0.1)), metric(0.1));
    }
}
