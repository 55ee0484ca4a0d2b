//! Writes down what happens in a run: into the registry, and into the journal and the series of the run's folder.
//!
//! It works on a thread of its own, so that no disk holds the supervisor up. What cannot be written, for a full disk
//! or a registry that another process holds, waits and is tried again every second: a training is worth more than the
//! record of it. Only what still fails once the run is over is an error. What the registry's tables do not take,
//! however often it is tried, is left out, with a message in the journal, and keeps nothing else back.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchwork_artifacts::event::{Event, Record};
use patchwork_artifacts::failure::chain;
use patchwork_artifacts::time::Timestamp;
use patchwork_registry::{Refusal, Registry, RegistryError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::PipelineError;
use crate::observer::Recording;
use crate::run_folder;

/// Between two attempts at writing what waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two heartbeats of a run.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Between two lines of the journal about what the attempts take of the machine; their end has the last one.
const RESOURCES: Duration = Duration::from_mins(1);

/// Attempts once the run is over.
const LAST_ATTEMPTS: u32 = 5;

/// The maximum number of measurements that wait for the registry, a night of them, and of bytes that wait for a file.
const MOST_POINTS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;

/// Records in one write to the registry.
const AT_ONCE: usize = 10_000;

/// Refusals of the registry that the journal lists; the others are counted.
const MOST_REFUSALS: usize = 100;

/// The way to a journal at work. When `records` is dropped, it ends with what waits.
pub(crate) struct Started {
    pub(crate) records: mpsc::UnboundedSender<Record>,
    pub(crate) recording: watch::Receiver<Recording>,
    pub(crate) ended: JoinHandle<Result<(), PipelineError>>,
}

struct Journal {
    registry: Registry,
    run: String,
    folder: PathBuf,
    recording: watch::Sender<Recording>,
    /// Whether something could not be written at the last attempt.
    is_in_trouble: bool,
    /// What waits, a place each: a write to one does not count on another, and none is repeated.
    series: Vec<u8>,
    lines: Vec<u8>,
    records: VecDeque<Record>,
    /// What attempts took of the machine at last, by stage and number, as far as the journal does not have it yet.
    resources: BTreeMap<(Option<String>, Option<u32>), Record>,
    last_resources: Instant,
    /// Measurements among `records`.
    points: usize,
    /// What was too much to keep or was refused, since the last report.
    lost: u64,
    refusals: usize,
    last_heartbeat: Instant,
}

/// Starts the journal of a run whose folder exists and that the registry knows.
pub(crate) fn start(registry: Registry, run: String, folder: PathBuf) -> Started {
    let (records, received) = mpsc::unbounded_channel();
    let (sender, recording) = watch::channel(Recording::Works { lost: 0 });
    let journal = Journal {
        registry,
        run,
        folder,
        recording: sender,
        is_in_trouble: false,
        series: Vec::new(),
        lines: Vec::new(),
        records: VecDeque::new(),
        resources: BTreeMap::new(),
        last_resources: Instant::now(),
        points: 0,
        lost: 0,
        refusals: 0,
        last_heartbeat: Instant::now(),
    };
    let runtime = tokio::runtime::Handle::current();
    let ended = tokio::task::spawn_blocking(move || runtime.block_on(journal.keep(received)));
    Started {
        records,
        recording,
        ended,
    }
}

impl Journal {
    async fn keep(
        mut self,
        mut received: mpsc::UnboundedReceiver<Record>,
    ) -> Result<(), PipelineError> {
        let mut pause = tokio::time::interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                record = received.recv() => {
                    let Some(record) = record else { break };
                    let mut is_urgent = self.take(record);
                    while let Ok(record) = received.try_recv() {
                        is_urgent |= self.take(record);
                    }
                    is_urgent && !self.is_in_trouble
                }
                _ = pause.tick() => true,
            };
            if is_due {
                // A failure is reported, and retried at the next tick.
                let _ = self.write().await;
            }
        }
        let mut written = self.write().await;
        for _ in 1..LAST_ATTEMPTS {
            if written.is_err() {
                tokio::time::sleep(PAUSE).await;
                written = self.write().await;
            }
        }
        if written.is_ok() && self.lost > 0 {
            let lost = self.lost;
            self.recording.send_replace(Recording::Works { lost });
        }
        written
    }

    /// Keeps records until they are written; says whether that is to be at once.
    fn take(&mut self, record: Record) -> bool {
        let attempt = (record.stage.clone(), record.attempt);
        match &record.event {
            Event::Metric { .. } => {
                self.take_point(record);
                return false;
            }
            Event::Resources { .. } => {
                self.resources.insert(attempt, record.clone());
                self.records.push_back(record);
                return false;
            }
            Event::Resumed { .. } => self.series.extend(run_folder::series_line(&record)),
            Event::Message { .. } if self.lines.len() >= MOST_BYTES => {
                self.lost += 1;
                return false;
            }
            Event::AttemptEnded { .. } => {
                if let Some(resources) = self.resources.remove(&attempt) {
                    self.lines.extend(run_folder::journal_line(&resources));
                }
                self.lines.extend(run_folder::journal_line(&record));
            }
            _ => self.lines.extend(run_folder::journal_line(&record)),
        }
        self.records.push_back(record);
        true
    }

    fn take_point(&mut self, record: Record) {
        let (is_series_full, are_records_full) =
            (self.series.len() >= MOST_BYTES, self.points >= MOST_POINTS);
        self.lost += u64::from(is_series_full || are_records_full);
        if !is_series_full {
            self.series.extend(run_folder::series_line(&record));
        }
        if !are_records_full {
            self.points += 1;
            self.records.push_back(record);
        }
    }

    /// Writes what waits, as far as it can be, and says when that changes between all and not all.
    async fn write(&mut self) -> Result<(), PipelineError> {
        let series = self.write_series();
        let records = self.write_records().await.map_err(PipelineError::from);
        // After the records: it reports those that were refused.
        let lines = self.write_lines();
        let written = series.and(records).and(lines);
        match &written {
            Err(error) if !self.is_in_trouble => {
                let cause = chain(error).join(": ");
                self.recording.send_replace(Recording::Fails { cause });
            }
            Ok(()) if self.is_in_trouble => {
                let lost = std::mem::take(&mut self.lost);
                self.recording.send_replace(Recording::Works { lost });
            }
            _ => {}
        }
        self.is_in_trouble = written.is_err();
        written
    }

    fn write_series(&mut self) -> Result<(), PipelineError> {
        if !self.series.is_empty() {
            run_folder::append_to_series(&self.folder, &self.series)?;
            self.series.clear();
        }
        Ok(())
    }

    fn write_lines(&mut self) -> Result<(), PipelineError> {
        if self.last_resources.elapsed() >= RESOURCES {
            for resources in std::mem::take(&mut self.resources).into_values() {
                self.lines.extend(run_folder::journal_line(&resources));
            }
            self.last_resources = Instant::now();
        }
        if !self.lines.is_empty() {
            run_folder::append_to_journal(&self.folder, &self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }

    async fn write_records(&mut self) -> Result<(), RegistryError> {
        while !self.records.is_empty() {
            let count = usize::min(self.records.len(), AT_ONCE);
            let records = &self.records.make_contiguous()[..count];
            let refusals = self.registry.apply(&self.run, records).await?;
            for refusal in refusals {
                self.leave_out(&refusal);
            }
            let written = self.records.drain(..count);
            self.points -= written
                .filter(|record| matches!(record.event, Event::Metric { .. }))
                .count();
        }
        if self.last_heartbeat.elapsed() >= HEARTBEAT {
            self.registry.heartbeat(&self.run).await?;
            self.last_heartbeat = Instant::now();
        }
        Ok(())
    }

    /// Skips records that the registry refuses, and reports them: in the journal each time, to the observer once.
    fn leave_out(&mut self, refusal: &Refusal) {
        self.lost += refusal.records.len() as u64;
        self.refusals += 1;
        let cause = chain(&refusal.cause).join(": ");
        if self.refusals <= MOST_REFUSALS {
            let warning = Record {
                time: Timestamp::now(),
                stage: self.records[refusal.records.start].stage.clone(),
                attempt: None,
                event: Event::warning(format!("the registry does without it: {cause}")),
            };
            self.lines.extend(run_folder::journal_line(&warning));
        }
        if self.refusals == 1 {
            self.recording.send_replace(Recording::Refuses { cause });
        }
    }
}
