//! What a run leaves behind: rows in the registry, and a folder of logs that tells the same story.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use patchwork_artifacts::Store;
use patchwork_artifacts::manifest::{Manifest, Score, Subject};
use patchwork_artifacts::spec::PipelineSpec;
use patchwork_core::{FileError, durable};
use patchwork_registry::{
    AttemptEnd, EventLevel, MetricPoint, NewArtifact, NewRun, NewScore, NewStage, Registry,
    RunStatus, StageStatus, now,
};
use serde_json::Value;

use crate::error::PipelineError;
use crate::flatten::flatten;
use crate::journal::{self, Entry};
use crate::observer::{Observer, Recording, Update};
use crate::plan::{Plan, PlannedStage};
use crate::provenance::Provenance;
use crate::result::{RunOutcome, StageResult};
use crate::row::Row;
use crate::run_folders::least_free_number;
use crate::story::{AttemptStory, EventStory, STORY_FORMAT, StageStory, Story};

/// Says what happens in a run to the journal, which writes it down.
pub(crate) struct Recorder<'a> {
    store: &'a Store,
    name: String,
    folder: PathBuf,
    story: Story,
    journal: journal::Started,
}

impl<'a> Recorder<'a> {
    /// Enters a run in the registry and makes its folder, which no run had before. Call it under
    /// [`Store::lock_planning`].
    pub(crate) async fn start_run(
        registry: &Registry,
        store: &'a Store,
        spec: &PipelineSpec,
        plan: &Plan,
        provenance: &Provenance,
    ) -> Result<Self, PipelineError> {
        let run = NewRun {
            pipeline: spec.name.clone(),
            least_number: least_free_number(store, &spec.name)?,
            definition_json: spec.definition.to_string(),
            command: provenance.command.join(" "),
            working_folder: provenance.working_folder.clone(),
            git_revision: provenance.git_revision.clone(),
            git_dirty: provenance.git_dirty,
            host: provenance.host.clone(),
            cpu: provenance.cpu.clone(),
            threads: provenance.threads,
            gpus: provenance.gpus.clone(),
            versions_json: provenance.versions.to_string(),
            params: params(spec),
            stages: plan
                .stages
                .iter()
                .enumerate()
                .map(|(position, stage)| NewStage {
                    name: stage.spec.name.clone(),
                    kind: stage.spec.kind.clone(),
                    fingerprint: stage.fingerprint,
                    position,
                })
                .collect(),
        };
        let record = registry.create_run(&run).await?;
        let folder = store.logs(&record.name);
        durable::create_new_dir(&folder)?;
        let story = Story {
            format: STORY_FORMAT.to_owned(),
            run: record.name.clone(),
            pipeline: run.pipeline,
            status: RunStatus::Running,
            started: record.started,
            ended: None,
            pid: std::process::id(),
            provenance: provenance.clone(),
            definition: spec.definition.clone(),
            params: run.params,
            stages: plan
                .stages
                .iter()
                .map(|stage| StageStory {
                    name: stage.spec.name.clone(),
                    kind: stage.spec.kind.clone(),
                    needs: stage.spec.needs.clone(),
                    fingerprint: stage.fingerprint,
                    status: StageStatus::Pending,
                    started: None,
                    ended: None,
                })
                .collect(),
            attempts: Vec::new(),
            events: Vec::new(),
            events_left_out: 0,
        };
        story.write(&folder)?;
        Ok(Self {
            store,
            name: record.name,
            journal: journal::start(registry.clone(), record.id, folder.clone()),
            folder,
            story,
        })
    }

    /// The run's name.
    pub(crate) fn run(&self) -> &str {
        &self.name
    }

    /// The log of a stage.
    pub(crate) fn log(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.log"))
    }

    /// Waits until what is told cannot be written down, or can be again.
    pub(crate) async fn recording_changed(&mut self) -> Option<Recording> {
        let recording = &mut self.journal.recording;
        recording.changed().await.ok()?;
        Some(recording.borrow_and_update().clone())
    }

    /// Records that a worker starts; gives the attempt's number among all of the run, from 0.
    pub(crate) fn start_attempt(&mut self, stage: &str, number: u32, pid: u32) -> usize {
        let attempt = self.story.attempts.len();
        let time = now();
        self.story.attempts.push(AttemptStory {
            stage: stage.to_owned(),
            number,
            pid,
            started: time.clone(),
            ended: None,
            exit: None,
            error: Vec::new(),
            cpu_seconds: None,
            peak_memory_bytes: None,
        });
        if let Some(stage) = self.story.stage_mut(stage) {
            stage.status = StageStatus::Running;
            stage.started.get_or_insert_with(|| time.clone());
        }
        self.tell_row(Row::AttemptStarted {
            stage: stage.to_owned(),
            number,
            pid,
            time,
        });
        self.tell_story();
        attempt
    }

    pub(crate) fn end_attempt(&mut self, attempt: usize, exit: &str, chain: &[String]) {
        let end = AttemptEnd {
            time: now(),
            exit: exit.to_owned(),
            error: (!chain.is_empty()).then(|| chain.join("\n")),
        };
        let story = &mut self.story.attempts[attempt];
        story.ended = Some(end.time.clone());
        story.exit = Some(end.exit.clone());
        story.error = chain.to_vec();
        self.tell_story();
        self.tell_row(Row::AttemptEnded { attempt, end });
    }

    /// Records what an attempt has taken of the machine.
    pub(crate) fn resources(&mut self, attempt: usize, cpu_seconds: f64, peak_memory_bytes: u64) {
        let story = &mut self.story.attempts[attempt];
        story.cpu_seconds = Some(cpu_seconds);
        story.peak_memory_bytes = Some(peak_memory_bytes);
        self.tell_row(Row::Resources {
            attempt,
            cpu_seconds,
            peak_memory_bytes,
        });
    }

    /// Records a measurement.
    pub(crate) fn metric(&self, stage: String, name: String, step: u64, value: f64) {
        let point = MetricPoint {
            name,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            value,
            time: SystemTime::now(),
        };
        self.tell(Entry::Point { stage, point });
    }

    /// Drops a stage's measurements after a step: an attempt that goes on from there makes them again.
    pub(crate) fn resumed(&self, stage: String, step: u64) {
        self.tell(Entry::Resumed { stage, step });
    }

    pub(crate) fn warning(&mut self, stage: &str, message: &str) {
        let time = now();
        self.story.add_event(EventStory {
            stage: Some(stage.to_owned()),
            level: EventLevel::Warning,
            message: message.to_owned(),
            time: time.clone(),
        });
        self.tell_row(Row::Warning {
            stage: stage.to_owned(),
            message: message.to_owned(),
            time,
        });
        self.tell_story();
    }

    /// Records a stage's end; gives a warning, which is recorded too, if its artifact cannot be read for the record.
    pub(crate) fn end_stage(
        &mut self,
        result: &StageResult,
        planned: &PlannedStage,
    ) -> Option<String> {
        let time = now();
        let mut warning = None;
        if let Some(outcome) = &result.outcome {
            match self.artifact(result, planned) {
                Ok(artifact) => self.tell_row(Row::Artifact {
                    artifact: Box::new(artifact),
                    time: time.clone(),
                }),
                Err(error) => warning = Some(format!("its artifact is not recorded: {error}")),
            }
            for score in &outcome.scores {
                let score = new_score(score, &planned.spec.needs, time.clone());
                self.tell_row(Row::Score {
                    stage: result.stage.clone(),
                    score: Box::new(score),
                });
            }
        }
        self.tell_row(Row::Stage {
            stage: result.stage.clone(),
            status: result.status,
            artifact: result.outcome.as_ref().map(|_| result.fingerprint),
            time: time.clone(),
        });
        if let Some(stage) = self.story.stage_mut(&result.stage) {
            stage.status = result.status;
            stage.ended = Some(time);
        }
        self.tell_story();
        if let Some(message) = &warning {
            self.warning(&result.stage, message);
        }
        warning
    }

    /// A finished stage's artifact, read while it is there.
    fn artifact(
        &self,
        result: &StageResult,
        planned: &PlannedStage,
    ) -> Result<NewArtifact, FileError> {
        let path = self.relative(&result.folder);
        match &planned.cached {
            Some(manifest) if result.status == StageStatus::Cached => {
                Ok(new_artifact(manifest, path))
            }
            _ => Ok(new_artifact(&Manifest::read(&result.folder)?, path)),
        }
    }

    /// Records the run's end, and waits until everything is written or is not going to be.
    ///
    /// # Errors
    /// What still cannot be written.
    pub(crate) async fn finish_run(
        mut self,
        outcome: &RunOutcome,
        observer: &mut dyn Observer,
    ) -> Result<(), PipelineError> {
        let status = if outcome.is_success() {
            RunStatus::Succeeded
        } else if outcome.signal.is_some() || outcome.is_paused() {
            RunStatus::Interrupted
        } else {
            RunStatus::Failed
        };
        let time = now();
        self.story.status = status;
        self.story.ended = Some(time.clone());
        self.tell_row(Row::RunEnded { status, time });
        self.tell_story();
        let journal::Started {
            entries,
            mut recording,
            mut ended,
        } = self.journal;
        drop(entries);
        loop {
            tokio::select! {
                biased;
                Ok(()) = recording.changed() => {
                    let state = recording.borrow_and_update().clone();
                    observer.update(Update::Recording(state));
                }
                ended = &mut ended => break ended.expect("keeping a journal does not panic"),
            }
        }
    }

    fn tell(&self, entry: Entry) {
        // The journal listens as long as there is a recorder.
        let _ = self.journal.entries.send(entry);
    }

    fn tell_row(&self, row: Row) {
        self.tell(Entry::Row(row));
    }

    fn tell_story(&self) {
        self.tell(Entry::Story(Box::new(self.story.clone())));
    }

    fn relative(&self, folder: &Path) -> String {
        folder
            .strip_prefix(self.store.home())
            .unwrap_or(folder)
            .display()
            .to_string()
    }
}

/// A score as the registry takes it, with the subject's name in this pipeline.
pub(crate) fn new_score(score: &Score, needs: &[String], time: String) -> NewScore {
    NewScore {
        time,
        subject: match &score.subject {
            Subject::Input(position) => needs.get(*position).cloned().unwrap_or_default(),
            Subject::Baseline(name) => name.clone(),
        },
        metric: score.metric.clone(),
        value: score.value,
        deviation: score.deviation,
        extractor: score.extractor.clone(),
        extractor_hash: score.extractor_digest.to_string(),
        resize: score.resize.clone(),
        reference: score.reference,
        reference_images: score.reference_images,
        reference_foreign: score.reference_foreign,
        samples: score.samples,
        seeds: score.seeds.clone(),
        codec: score.codec.clone(),
        images_seen: score.images_seen,
    }
}

/// An artifact as the registry takes it; `path` is its folder below the home folder.
pub(crate) fn new_artifact(manifest: &Manifest, path: String) -> NewArtifact {
    NewArtifact {
        fingerprint: manifest.fingerprint,
        kind: manifest.kind.clone(),
        path,
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        inputs: manifest
            .inputs
            .iter()
            .map(|input| (input.kind.clone(), input.fingerprint))
            .collect(),
        summary_json: Value::Object(manifest.outcome.summary.clone()).to_string(),
    }
}

/// The settings of every stage by dotted key.
fn params(spec: &PipelineSpec) -> Vec<(String, String)> {
    let mut params = Vec::new();
    for stage in &spec.stages {
        for settings in [&stage.settings, &stage.execution] {
            flatten(&format!("stages.{}", stage.name), settings, &mut params);
        }
    }
    params.sort();
    params
}
