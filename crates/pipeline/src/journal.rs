//! Writes down what the recorder tells: into the registry, and into the series and the story of the run's folder.
//!
//! It works on a thread of its own, so that no disk holds the supervisor up. What cannot be written, for a full disk
//! or a registry that another process holds, is kept and tried again every second: a training is worth more than the
//! record of it. Only what still fails once the run is over is an error.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use patchwork_core::Fingerprint;
use patchwork_registry::{
    AttemptEnd, EventLevel, MetricPoint, NewScore, Registry, RunStatus, StageStatus,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::PipelineError;
use crate::failure::chain;
use crate::manifest::Manifest;
use crate::observer::Recording;
use crate::recorder::new_artifact;
use crate::story::{PointStory, Story, append_to_series, point_line, resumption_line};

/// Between two attempts at writing what waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two heartbeats of a run.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Attempts once the run is over.
const LAST_ATTEMPTS: u32 = 5;

/// What waits at most: measurements for the registry, a night of them, and bytes for the series.
const MOST_POINTS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;

/// What is to be written.
pub(crate) enum Entry {
    /// A measurement, which is written with others.
    Point { stage: String, point: MetricPoint },
    /// A stage goes on from a step: its measurements of later steps no longer hold.
    Resumed { stage: String, step: u64 },
    /// The run's story up to here.
    Story(Box<Story>),
    /// A row of the registry.
    Row(Row),
}

/// One write to the registry. Attempts are counted over the run, from 0, in the order of their start.
pub(crate) enum Row {
    AttemptStarted {
        stage: String,
        number: u32,
        pid: u32,
    },
    AttemptEnded {
        attempt: usize,
        exit: String,
        error: Option<String>,
    },
    Resources {
        attempt: usize,
        cpu_seconds: f64,
        peak_memory_bytes: u64,
    },
    Points {
        stage: String,
        points: Vec<MetricPoint>,
    },
    DropPointsAfter {
        stage: String,
        step: i64,
    },
    Warning {
        stage: String,
        message: String,
    },
    /// The artifact whose manifest lies in `folder`; `path` is that below the home folder.
    Artifact {
        folder: PathBuf,
        path: String,
    },
    Score {
        stage: String,
        score: Box<NewScore>,
    },
    Stage {
        stage: String,
        status: StageStatus,
        artifact: Option<Fingerprint>,
    },
    RunEnded(RunStatus),
}

/// The way to a journal at work. When `entries` is dropped, it ends with what waits.
pub(crate) struct Started {
    pub(crate) entries: mpsc::UnboundedSender<Entry>,
    pub(crate) recording: watch::Receiver<Recording>,
    pub(crate) ended: JoinHandle<Result<(), PipelineError>>,
}

struct Journal {
    registry: Registry,
    run: i64,
    folder: PathBuf,
    recording: watch::Sender<Recording>,
    /// What waits, a place each: a write to one does not count on another, and none is repeated.
    series: Vec<u8>,
    story: Option<Box<Story>>,
    rows: VecDeque<Row>,
    /// Measurements among `rows`.
    points: usize,
    /// Measurements that were too many to keep, since the trouble began.
    lost: u64,
    /// The registry's numbers of the attempts.
    attempts: Vec<i64>,
    open_attempts: BTreeSet<usize>,
    last_heartbeat: Instant,
}

/// Starts the journal of a run whose folder is there and that the registry knows as `run`.
pub(crate) fn start(registry: Registry, run: i64, folder: PathBuf) -> Started {
    let (entries, told) = mpsc::unbounded_channel();
    let (sender, recording) = watch::channel(Recording::Works { lost: 0 });
    let journal = Journal {
        registry,
        run,
        folder,
        recording: sender,
        series: Vec::new(),
        story: None,
        rows: VecDeque::new(),
        points: 0,
        lost: 0,
        attempts: Vec::new(),
        open_attempts: BTreeSet::new(),
        last_heartbeat: Instant::now(),
    };
    let runtime = tokio::runtime::Handle::current();
    let ended = tokio::task::spawn_blocking(move || runtime.block_on(journal.keep(told)));
    Started {
        entries,
        recording,
        ended,
    }
}

impl Journal {
    async fn keep(mut self, mut told: mpsc::UnboundedReceiver<Entry>) -> Result<(), PipelineError> {
        let mut pause = tokio::time::interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                entry = told.recv() => {
                    let Some(entry) = entry else { break };
                    let mut is_urgent = self.take(entry);
                    while let Ok(entry) = told.try_recv() {
                        is_urgent |= self.take(entry);
                    }
                    is_urgent && !self.is_in_trouble()
                }
                _ = pause.tick() => true,
            };
            if is_due {
                // What failed is told, and tried again at the next tick.
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
        written
    }

    /// Keeps what is told until it is written; says whether that is to be at once.
    fn take(&mut self, entry: Entry) -> bool {
        match entry {
            Entry::Point { stage, point } => {
                self.take_point(stage, point);
                return false;
            }
            Entry::Resumed { stage, step } => {
                self.series.extend(resumption_line(&stage, step));
                let step = i64::try_from(step).unwrap_or(i64::MAX);
                self.rows.push_back(Row::DropPointsAfter { stage, step });
            }
            Entry::Story(story) => self.story = Some(story),
            Entry::Row(row) => self.rows.push_back(row),
        }
        true
    }

    fn take_point(&mut self, stage: String, point: MetricPoint) {
        let (is_series_full, are_rows_full) =
            (self.series.len() >= MOST_BYTES, self.points >= MOST_POINTS);
        self.lost += u64::from(is_series_full || are_rows_full);
        if !is_series_full {
            self.series.extend(point_line(&point_story(&stage, &point)));
        }
        if are_rows_full {
            return;
        }
        self.points += 1;
        let waiting = self
            .rows
            .iter_mut()
            .rev()
            .map_while(|row| match row {
                Row::Points { stage, points } => Some((stage, points)),
                _ => None,
            })
            .find(|(of, _)| **of == stage);
        match waiting {
            Some((_, points)) => points.push(point),
            None => self.rows.push_back(Row::Points {
                stage,
                points: vec![point],
            }),
        }
    }

    /// Writes what waits, as far as it can be, and says when that changes between all and not all.
    async fn write(&mut self) -> Result<(), PipelineError> {
        let series = self.write_series();
        let story = self.write_story();
        let rows = self.write_rows().await;
        let written = series.and(story).and(rows);
        match &written {
            Err(error) if !self.is_in_trouble() => {
                let cause = chain(error).join(": ");
                self.recording.send_replace(Recording::Fails { cause });
            }
            Ok(()) if self.is_in_trouble() => {
                let lost = std::mem::take(&mut self.lost);
                self.recording.send_replace(Recording::Works { lost });
            }
            _ => {}
        }
        written
    }

    fn is_in_trouble(&self) -> bool {
        matches!(*self.recording.borrow(), Recording::Fails { .. })
    }

    fn write_series(&mut self) -> Result<(), PipelineError> {
        if !self.series.is_empty() {
            append_to_series(&self.folder, &self.series)?;
            self.series.clear();
        }
        Ok(())
    }

    fn write_story(&mut self) -> Result<(), PipelineError> {
        if let Some(story) = &self.story {
            story.write(&self.folder)?;
            self.story = None;
        }
        Ok(())
    }

    async fn write_rows(&mut self) -> Result<(), PipelineError> {
        while let Some(row) = self.rows.pop_front() {
            if let Err(error) = self.write_row(&row).await {
                self.rows.push_front(row);
                return Err(error);
            }
        }
        if self.last_heartbeat.elapsed() >= HEARTBEAT {
            for &attempt in &self.open_attempts {
                self.registry.heartbeat(self.attempts[attempt]).await?;
            }
            self.last_heartbeat = Instant::now();
        }
        Ok(())
    }

    async fn write_row(&mut self, row: &Row) -> Result<(), PipelineError> {
        let (registry, run) = (&self.registry, self.run);
        match row {
            Row::AttemptStarted { stage, number, pid } => {
                let attempt = registry.start_attempt(run, stage, *number, *pid).await?;
                self.open_attempts.insert(self.attempts.len());
                self.attempts.push(attempt);
            }
            Row::AttemptEnded {
                attempt,
                exit,
                error,
            } => {
                let end = AttemptEnd {
                    exit: exit.clone(),
                    error: error.clone(),
                };
                registry.end_attempt(self.attempts[*attempt], end).await?;
                self.open_attempts.remove(attempt);
            }
            Row::Resources {
                attempt,
                cpu_seconds,
                peak_memory_bytes,
            } => {
                let attempt = self.attempts[*attempt];
                registry
                    .record_resources(attempt, *cpu_seconds, *peak_memory_bytes)
                    .await?;
            }
            Row::Points { stage, points } => {
                registry.record_metrics(run, stage, points).await?;
                self.points -= points.len();
            }
            Row::DropPointsAfter { stage, step } => {
                registry.drop_metrics_after(run, stage, *step).await?;
            }
            Row::Warning { stage, message } => {
                registry
                    .record_event(run, Some(stage.as_str()), EventLevel::Warning, message)
                    .await?;
            }
            Row::Artifact { folder, path } => {
                let artifact = new_artifact(&Manifest::read(folder)?, path.clone());
                registry.record_artifact(&artifact).await?;
            }
            Row::Score { stage, score } => registry.record_score(run, stage, score).await?,
            Row::Stage {
                stage,
                status,
                artifact,
            } => registry.set_stage(run, stage, *status, *artifact).await?,
            Row::RunEnded(status) => registry.finish_run(run, *status).await?,
        }
        Ok(())
    }
}

fn point_story(stage: &str, point: &MetricPoint) -> PointStory {
    let since_1970 = point.time.duration_since(SystemTime::UNIX_EPOCH);
    PointStory {
        stage: stage.to_owned(),
        name: point.name.clone(),
        step: point.step,
        value: point.value.is_finite().then_some(point.value),
        time: since_1970.map_or(0, |duration| {
            u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
        }),
    }
}
