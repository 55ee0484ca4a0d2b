//! A job that no pipeline has: whether processes can train together, and how fast what they exchange goes.

use std::path::Path;

use patchwork_artifacts::Environment;
use patchwork_artifacts::protocol::Job;
use patchwork_core::Fingerprint;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::execution::{CPU, Execution};

/// The settings of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupProbe {
    /// How many float32 numbers are summed at once: those that a network trains.
    pub parameters: i64,
}

/// What it finds: the summary of its outcome.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GroupProbed {
    /// The machine of each rank.
    pub machines: Vec<String>,
    /// The network interfaces of each rank, in words.
    pub interfaces: Vec<String>,
    /// The size of what was summed.
    pub bytes: u64,
    /// How long the sum of one number takes.
    pub latency_seconds: f64,
    /// How long the sum of [`GroupProbed::bytes`] takes.
    pub seconds: f64,
}

impl GroupProbe {
    /// What such a job calls itself in the place of a stage's kind.
    pub const KIND: &'static str = "ranks";

    /// The job, which works in the folder `home` and logs there.
    pub fn job(self, execution: &Execution, home: &Path) -> Job {
        let environment = match execution.device.as_str() {
            CPU => Environment::default(),
            _ => Environment::of_cuda(false),
        };
        let plain = "a job is plain finite values with text keys";
        let settings = serde_json::to_value(self).expect(plain);
        let mut uncovered = serde_json::to_value(execution).expect(plain);
        if let (Value::Object(all), Value::Object(variables)) = (
            &mut uncovered,
            serde_json::to_value(environment).expect(plain),
        ) {
            all.extend(variables);
        }
        Job {
            stage: Self::KIND.to_owned(),
            kind: Self::KIND.to_owned(),
            format_version: 1,
            fingerprint: Fingerprint::of(&json!({ "kind": Self::KIND, "settings": settings })),
            settings,
            execution: uncovered,
            source: None,
            inputs: Vec::new(),
            home: home.to_owned(),
            logs: home.to_owned(),
            place: None,
        }
    }
}
