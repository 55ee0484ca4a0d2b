//! What happens in a run: one type for what a worker says, what the run's journal keeps, and what the registry applies.
//!
//! A worker says how its attempt goes; the supervisor adds what only it knows: that a run, an attempt, a stage began or
//! ended. With its time and place an event is a [`Record`]. The records of a run are all that is known of it: a registry
//! is made of them, and can be made of them again.

use patchwork_core::Fingerprint;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::manifest::{Manifest, ManifestInput, Outcome, Score, Subject};
use crate::provenance::Provenance;
use crate::status::{MessageLevel, RunStatus, StageStatus};
use crate::time::Timestamp;

/// The version of the records that this program writes.
pub const RECORD_FORMAT: &str = "patchwork.run/2";

/// An event with its time and place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it happened, whenever it is written.
    pub time: Timestamp,
    /// The stage that it happened to; none: the run as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Which attempt at the stage, from 1, where it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A supervisor began a run.
    RunStarted(Box<RunStart>),
    /// A worker was started.
    AttemptStarted {
        /// Its process.
        pid: u32,
    },
    /// Another process works on the same fingerprint; this one waits for it.
    Waiting,
    /// So much of the stage is done.
    Progress(Progress),
    /// A measurement at a step.
    Metric {
        /// Its name, such as `loss`.
        name: String,
        /// The step, in the stage's own unit (images seen, for training). A step measured again replaces the first.
        step: u64,
        /// Its value. JSON writes null for a non-finite number, which is read as not-a-number.
        #[serde(deserialize_with = "number_or_nan")]
        value: f64,
    },
    /// The stage resumes from this step: what an earlier attempt said of later ones no longer holds.
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
    /// Something that a person should know.
    Message {
        /// How much it matters.
        level: MessageLevel,
        /// What.
        message: String,
    },
    /// The artifact is in place.
    Finished {
        /// Whether another process had made it while this one waited.
        cached: bool,
        /// What the stage found.
        outcome: Outcome,
    },
    /// The stage stopped and can resume from there.
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
    /// A worker ended.
    AttemptEnded {
        /// Exit status, signal, or what else ended it.
        exit: String,
        /// The error and its causes, outermost first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        error: Vec<String>,
    },
    /// A stage ended.
    StageEnded {
        /// Where it stands.
        status: StageStatus,
        /// Its artifact, where there is one that can be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<Box<Artifact>>,
        /// What it measured.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scores: Vec<RunScore>,
    },
    /// A supervisor ended its run.
    RunEnded {
        /// Where it stands.
        status: RunStatus,
    },
}

/// A run, as it is known at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStart {
    /// Always [`RECORD_FORMAT`].
    pub format: String,
    /// The run's name, the pipeline's with a number: `celeba-3`.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The supervisor's process.
    pub pid: u32,
    /// The circumstances.
    pub provenance: Provenance,
    /// The resolved pipeline.
    pub definition: Value,
    /// Every setting: dotted key and value.
    pub params: Vec<(String, String)>,
    /// In the pipeline's order.
    pub stages: Vec<StageStart>,
}

/// A stage of a run that starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStart {
    /// Its name, unique in the run.
    pub name: String,
    /// What it does, such as `train`.
    pub kind: String,
    /// The stages whose artifacts it reads.
    pub needs: Vec<String>,
    /// What its artifact is called.
    pub fingerprint: Fingerprint,
}

/// A finished artifact in a home folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The kind of stage that made it.
    pub kind: String,
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Its folder below the home folder.
    pub path: String,
    /// The sum of its files.
    pub bytes: u64,
    /// What it was made from.
    pub inputs: Vec<ManifestInput>,
    /// What its stage reported.
    pub summary: Map<String, Value>,
}

/// A score with the name that its subject has in the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    /// The name of the stage that made the subject, or of a baseline, such as `noise`.
    pub of: String,
    /// The score, as its artifact has it.
    #[serde(flatten)]
    pub score: Score,
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

impl Event {
    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::Message {
            level: MessageLevel::Warning,
            message: message.into(),
        }
    }
}

impl Artifact {
    /// The artifact of a manifest, whose folder lies at `path` below the home folder.
    pub fn of(manifest: &Manifest, path: String) -> Self {
        Self {
            kind: manifest.kind.clone(),
            fingerprint: manifest.fingerprint,
            path,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            inputs: manifest.inputs.clone(),
            summary: manifest.outcome.summary.clone(),
        }
    }
}

impl RunScore {
    /// The scores of an outcome, whose stage reads the artifacts of `needs`.
    pub fn all(outcome: &Outcome, needs: &[String]) -> Vec<Self> {
        let named = outcome.scores.iter().map(|score| Self {
            of: match &score.subject {
                Subject::Input(position) => needs.get(*position).cloned().unwrap_or_default(),
                Subject::Baseline(name) => name.clone(),
            },
            score: score.clone(),
        });
        named.collect()
    }
}

fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number: Option<f64> = Option::deserialize(deserializer)?;
    Ok(number.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(value: f64) -> Record {
        Record {
            time: Timestamp::from_milliseconds(1500),
            stage: Some("train".to_owned()),
            attempt: None,
            event: Event::Metric {
                name: "loss".to_owned(),
                step: u64::MAX,
                value,
            },
        }
    }

    fn received(record: &Record) -> Record {
        let line = serde_json::to_string(record).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_measurement_that_is_no_number_arrives() {
        for value in [f64::NAN, f64::INFINITY] {
            let record = received(&metric(value));
            assert!(
                matches!(&record.event, Event::Metric { step: u64::MAX, value, .. } if value.is_nan()),
                "{record:?}"
            );
        }
        assert_eq!(received(&metric(0.1)), metric(0.1));
    }

    #[test]
    fn a_record_is_one_flat_line() {
        let ended = Record {
            time: Timestamp::from_milliseconds(0),
            stage: Some("train".to_owned()),
            attempt: Some(2),
            event: Event::AttemptEnded {
                exit: "signal: 9".to_owned(),
                error: vec!["killed".to_owned()],
            },
        };
        let line = serde_json::to_string(&ended).unwrap();
        assert_eq!(
            line,
            r#"{"time":"1970-01-01T00:00:00.000Z","stage":"train","attempt":2,"event":"attempt_ended","exit":"signal: 9","error":["killed"]}"#
        );
        assert_eq!(received(&ended), ended);
    }
}
