//! Writes down what the recorder tells: into the registry, and into the series and the story of the run's folder.
//!
//! It works on a thread of its own, so that no disk holds the supervisor up. What cannot be written, for a full disk
//! or a registry that another process holds, is kept and tried again every second: a training is worth more than the
//! record of it. Only what still fails once the run is over is an error. What the registry's tables do not take,
//! however often it is tried, is left out, with a word in the story, and keeps nothing else back.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use patchwork_artifacts::failure::chain;
use patchwork_registry::{EventLevel, MetricPoint, Registry, RegistryError, now};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::PipelineError;
use crate::observer::Recording;
use crate::row::Row;
use crate::story::{EventStory, PointStory, Story, append_to_series, point_line, resumption_line};

/// Between two attempts at writing what waits.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two heartbeats of a run.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Attempts once the run is over.
const LAST_ATTEMPTS: u32 = 5;

/// What waits at most: measurements for the registry, a night of them, and bytes for the series.
const MOST_POINTS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;

/// Refusals of the registry of which the story tells; the others are counted.
const MOST_REFUSALS: usize = 100;

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
    /// Whether something could not be written at the last attempt.
    is_in_trouble: bool,
    /// What waits, a place each: a write to one does not count on another, and none is repeated.
    series: Vec<u8>,
    rows: VecDeque<Row>,
    /// The story as it was told last, and whether it waits.
    story: Option<Box<Story>>,
    is_story_due: bool,
    /// Measurements among `rows`.
    points: usize,
    /// What was too much to keep or was refused, since it was last told.
    lost: u64,
    /// What the story tells of refusals.
    refusals: Vec<EventStory>,
    /// The registry's numbers of the attempts; none of one that it refused.
    attempts: Vec<Option<i64>>,
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
        is_in_trouble: false,
        series: Vec::new(),
        rows: VecDeque::new(),
        story: None,
        is_story_due: false,
        points: 0,
        lost: 0,
        refusals: Vec::new(),
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
                    is_urgent && !self.is_in_trouble
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
        if written.is_ok() && self.lost > 0 {
            let lost = self.lost;
            self.recording.send_replace(Recording::Works { lost });
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
            Entry::Story(mut story) => {
                for refusal in &self.refusals {
                    story.add_event(refusal.clone());
                }
                self.story = Some(story);
                self.is_story_due = true;
            }
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
        let rows = self.write_rows().await.map_err(PipelineError::from);
        // After the rows: it tells of those that were refused.
        let story = self.write_story();
        let written = series.and(rows).and(story);
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
            append_to_series(&self.folder, &self.series)?;
            self.series.clear();
        }
        Ok(())
    }

    fn write_story(&mut self) -> Result<(), PipelineError> {
        if self.is_story_due
            && let Some(story) = &self.story
        {
            story.write(&self.folder)?;
            self.is_story_due = false;
        }
        Ok(())
    }

    async fn write_rows(&mut self) -> Result<(), RegistryError> {
        while let Some(row) = self.rows.pop_front() {
            match self.write_row(&row).await {
                Ok(()) => {}
                Err(error) if error.is_refusal() => self.leave_out(&row, &error),
                Err(error) => {
                    self.rows.push_front(row);
                    return Err(error);
                }
            }
        }
        if self.last_heartbeat.elapsed() >= HEARTBEAT {
            for &attempt in &self.open_attempts {
                if let Some(attempt) = self.attempts[attempt] {
                    self.registry.heartbeat(attempt).await?;
                }
            }
            self.last_heartbeat = Instant::now();
        }
        Ok(())
    }

    /// Goes on without a row that the registry refuses, and tells so: in the story each time, to whoever watches once.
    fn leave_out(&mut self, row: &Row, error: &RegistryError) {
        let mut entries = 1;
        match row {
            // Those after it keep their numbers.
            Row::AttemptStarted { .. } => self.attempts.push(None),
            Row::AttemptEnded { attempt, .. } => {
                self.open_attempts.remove(attempt);
            }
            Row::Points { points, .. } => {
                self.points -= points.len();
                entries = points.len();
            }
            _ => {}
        }
        self.lost += entries as u64;
        let cause = chain(error).join(": ");
        if self.refusals.len() < MOST_REFUSALS {
            let refusal = EventStory {
                stage: row.stage().map(str::to_owned),
                level: EventLevel::Warning,
                message: format!("the registry does without it: {cause}"),
                time: now(),
            };
            if let Some(story) = &mut self.story {
                story.add_event(refusal.clone());
                self.is_story_due = true;
            }
            self.refusals.push(refusal);
        }
        if self.refusals.len() == 1 {
            self.recording.send_replace(Recording::Refuses { cause });
        }
    }

    async fn write_row(&mut self, row: &Row) -> Result<(), RegistryError> {
        let (registry, run) = (&self.registry, self.run);
        match row {
            Row::AttemptStarted {
                stage,
                number,
                pid,
                time,
            } => {
                let attempt = registry
                    .start_attempt(run, stage, *number, *pid, time)
                    .await?;
                self.open_attempts.insert(self.attempts.len());
                self.attempts.push(Some(attempt));
            }
            Row::AttemptEnded { attempt, end } => {
                if let Some(attempt) = self.attempts[*attempt] {
                    registry.end_attempt(attempt, end).await?;
                }
                self.open_attempts.remove(attempt);
            }
            Row::Resources {
                attempt,
                cpu_seconds,
                peak_memory_bytes,
            } => {
                if let Some(attempt) = self.attempts[*attempt] {
                    registry
                        .record_resources(attempt, *cpu_seconds, *peak_memory_bytes)
                        .await?;
                }
            }
            Row::Points { stage, points } => {
                registry.record_metrics(run, stage, points).await?;
                self.points -= points.len();
            }
            Row::DropPointsAfter { stage, step } => {
                registry.drop_metrics_after(run, stage, *step).await?;
            }
            Row::Warning {
                stage,
                message,
                time,
            } => {
                let stage = Some(stage.as_str());
                registry
                    .record_event(run, stage, EventLevel::Warning, message, time)
                    .await?;
            }
            Row::Artifact { artifact, time } => registry.record_artifact(artifact, time).await?,
            Row::Score { stage, score } => registry.record_score(run, stage, score).await?,
            Row::Stage {
                stage,
                status,
                artifact,
                time,
            } => {
                registry
                    .set_stage(run, stage, *status, *artifact, time)
                    .await?;
            }
            Row::RunEnded { status, time } => registry.finish_run(run, *status, time).await?,
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
