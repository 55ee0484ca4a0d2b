//! Run folders of earlier versions: `run.json` (`patchwork.run/1`) records where a run stands instead of what happened.

use std::path::Path;

use patchwork_artifacts::Provenance;
use patchwork_artifacts::event::{Event, RECORD_FORMAT, Record, RunStart, StageStart};
use patchwork_artifacts::status::{MessageLevel, RunStatus, StageStatus};
use patchwork_artifacts::time::Timestamp;
use patchwork_core::{FileError, Fingerprint, file_error};
use serde::Deserialize;
use serde_json::Value;

use crate::run_records::RunRecords;

/// The file's name in a run's folder.
pub(crate) const RUN_FILE: &str = "run.json";

/// A run, whole but for its series and scores.
#[derive(Debug, Deserialize)]
pub(crate) struct EarlierRun {
    run: String,
    pipeline: String,
    status: RunStatus,
    started: Timestamp,
    ended: Option<Timestamp>,
    pid: u32,
    provenance: Provenance,
    definition: Value,
    params: Vec<(String, String)>,
    stages: Vec<EarlierStage>,
    attempts: Vec<EarlierAttempt>,
    events: Vec<EarlierMessage>,
}

#[derive(Debug, Deserialize)]
struct EarlierStage {
    name: String,
    kind: String,
    needs: Vec<String>,
    fingerprint: Fingerprint,
    status: StageStatus,
    ended: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct EarlierAttempt {
    stage: String,
    number: u32,
    pid: u32,
    started: Timestamp,
    ended: Option<Timestamp>,
    exit: Option<String>,
    #[serde(default)]
    error: Vec<String>,
    cpu_seconds: Option<f64>,
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct EarlierMessage {
    stage: Option<String>,
    level: MessageLevel,
    message: String,
    time: Timestamp,
}

impl EarlierRun {
    pub(crate) fn read(folder: &Path) -> Result<Self, FileError> {
        file_error::read_json(&folder.join(RUN_FILE))
    }

    /// What must have happened.
    pub(crate) fn into_records(self) -> RunRecords {
        let start = RunStart {
            format: RECORD_FORMAT.to_owned(),
            run: self.run,
            pipeline: self.pipeline,
            pid: self.pid,
            provenance: self.provenance,
            definition: self.definition,
            params: self.params,
            stages: self
                .stages
                .iter()
                .map(|stage| StageStart {
                    name: stage.name.clone(),
                    kind: stage.kind.clone(),
                    needs: stage.needs.clone(),
                    fingerprint: stage.fingerprint,
                })
                .collect(),
        };
        let started = self.started;
        let of_run = |time, event| Record {
            time,
            stage: None,
            attempt: None,
            event,
        };
        let mut records = vec![of_run(started, Event::RunStarted(Box::new(start.clone())))];
        records.extend(
            self.attempts
                .into_iter()
                .flat_map(EarlierAttempt::into_records),
        );
        records.extend(self.events.into_iter().map(|event| Record {
            stage: event.stage,
            ..of_run(
                event.time,
                Event::Message {
                    level: event.level,
                    message: event.message,
                },
            )
        }));
        let ended = self
            .stages
            .into_iter()
            .filter(|stage| stage.status.is_final());
        records.extend(ended.map(|stage| Record {
            stage: Some(stage.name),
            ..of_run(
                stage.ended.unwrap_or(started),
                Event::StageEnded {
                    status: stage.status,
                    artifact: None,
                    scores: Vec::new(),
                },
            )
        }));
        if self.status != RunStatus::Running {
            let status = self.status;
            let time = self.ended.unwrap_or(started);
            records.push(of_run(time, Event::RunEnded { status }));
        }
        RunRecords {
            started,
            start,
            records,
            unreadable: 0,
        }
    }
}

impl EarlierAttempt {
    fn into_records(self) -> Vec<Record> {
        let record = |time, event| Record {
            time,
            stage: Some(self.stage.clone()),
            attempt: Some(self.number),
            event,
        };
        let mut records = vec![record(
            self.started,
            Event::AttemptStarted { pid: self.pid },
        )];
        let took = self.cpu_seconds.zip(self.peak_memory_bytes);
        records.extend(took.map(|(cpu_seconds, peak_memory_bytes)| {
            record(
                self.ended.unwrap_or(self.started),
                Event::Resources {
                    cpu_seconds,
                    peak_memory_bytes,
                },
            )
        }));
        records.extend(self.ended.map(|time| {
            record(
                time,
                Event::AttemptEnded {
                    exit: self.exit.clone().unwrap_or_default(),
                    error: self.error.clone(),
                },
            )
        }));
        records
    }
}
