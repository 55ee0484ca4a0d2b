//! Reports to the journal what happens in a run.

use std::path::{Path, PathBuf};

use patchwork_artifacts::event::{
    Artifact, Event, RECORD_FORMAT, Record, RunScore, RunStart, StageStart,
};
use patchwork_artifacts::spec::PipelineSpec;
use patchwork_artifacts::status::{RunStatus, StageStatus};
use patchwork_artifacts::{Manifest, Provenance, Store, Timestamp};
use patchwork_core::{FileError, durable};
use patchwork_registry::Registry;

use crate::error::PipelineError;
use crate::flatten::flatten;
use crate::journal;
use crate::observer::{Observer, Recording, Update};
use crate::plan::{Plan, PlannedStage};
use crate::result::{RunOutcome, StageResult};
use crate::run_folder;
use crate::run_folders::least_free_number;

/// Says what happens in a run to the journal, which writes it down.
pub(crate) struct Recorder<'a> {
    store: &'a Store,
    name: String,
    folder: PathBuf,
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
        let start = RunStart {
            format: RECORD_FORMAT.to_owned(),
            run: String::new(),
            pipeline: spec.name.clone(),
            pid: std::process::id(),
            provenance: provenance.clone(),
            definition: spec.definition.clone(),
            params: params(spec),
            stages: plan
                .stages
                .iter()
                .map(|stage| StageStart {
                    name: stage.spec.name.clone(),
                    kind: stage.spec.kind.clone(),
                    needs: stage.spec.needs.clone(),
                    fingerprint: stage.fingerprint,
                })
                .collect(),
        };
        let least = least_free_number(store, &spec.name)?;
        let (name, first) = registry.begin_run(start, least).await?;
        let folder = store.logs(&name);
        durable::create_new_dir(&folder)?;
        run_folder::append_to_journal(&folder, &run_folder::journal_line(&first))?;
        Ok(Self {
            store,
            journal: journal::start(registry.clone(), name.clone(), folder.clone()),
            name,
            folder,
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

    /// Waits until records cannot be written, or can be again.
    pub(crate) async fn recording_changed(&mut self) -> Option<Recording> {
        let recording = &mut self.journal.recording;
        recording.changed().await.ok()?;
        Some(recording.borrow_and_update().clone())
    }

    /// Records what happens to an attempt at a stage, from 1.
    pub(crate) fn tell_of_attempt(&self, stage: &str, attempt: u32, event: Event) {
        self.record(Some(stage), Some(attempt), event);
    }

    /// Records what happens to a stage.
    pub(crate) fn tell_of_stage(&self, stage: &str, event: Event) {
        self.record(Some(stage), None, event);
    }

    /// Records a stage's end; gives a warning, which is recorded too, if its artifact cannot be read for the record.
    pub(crate) fn end_stage(&self, result: &StageResult, planned: &PlannedStage) -> Option<String> {
        let artifact = result
            .outcome
            .as_ref()
            .map(|_| self.artifact(result, planned));
        let (artifact, warning) = match artifact {
            Some(Ok(artifact)) => (Some(Box::new(artifact)), None),
            Some(Err(error)) => (None, Some(format!("its artifact is not recorded: {error}"))),
            None => (None, None),
        };
        let outcome = result.outcome.iter();
        let scores = outcome.flat_map(|outcome| RunScore::all(outcome, &planned.spec.needs));
        let ended = Event::StageEnded {
            status: result.status,
            artifact,
            scores: scores.collect(),
        };
        self.tell_of_stage(&result.stage, ended);
        if let Some(message) = &warning {
            self.tell_of_stage(&result.stage, Event::warning(message));
        }
        warning
    }

    /// A finished stage's artifact, read while it exists.
    fn artifact(
        &self,
        result: &StageResult,
        planned: &PlannedStage,
    ) -> Result<Artifact, FileError> {
        let path = self.relative(&result.folder);
        match &planned.cached {
            Some(manifest) if result.status == StageStatus::Cached => {
                Ok(Artifact::of(manifest, path))
            }
            _ => Ok(Artifact::of(&Manifest::read(&result.folder)?, path)),
        }
    }

    /// Records the run's end, and waits until everything is written or is not going to be.
    ///
    /// # Errors
    /// What still cannot be written.
    pub(crate) async fn finish_run(
        self,
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
        self.record(None, None, Event::RunEnded { status });
        let journal::Started {
            records,
            mut recording,
            mut ended,
        } = self.journal;
        drop(records);
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

    fn record(&self, stage: Option<&str>, attempt: Option<u32>, event: Event) {
        let record = Record {
            time: Timestamp::now(),
            stage: stage.map(str::to_owned),
            attempt,
            event,
        };
        // The journal listens as long as there is a recorder.
        let _ = self.journal.records.send(record);
    }

    fn relative(&self, folder: &Path) -> String {
        folder
            .strip_prefix(self.store.home())
            .unwrap_or(folder)
            .display()
            .to_string()
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
