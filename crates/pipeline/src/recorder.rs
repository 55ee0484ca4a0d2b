//! What a run leaves behind: rows in the registry, and a folder of logs that tells the same story.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use patchwork_core::durable;
use patchwork_registry::{
    AttemptEnd, EventLevel, MetricPoint, NewArtifact, NewRun, NewScore, NewStage, Registry,
    RunStatus, StageStatus,
};
use serde_json::Value;

use crate::error::PipelineError;
use crate::flatten::flatten;
use crate::manifest::{Manifest, Score, Subject};
use crate::plan::{Plan, PlannedStage};
use crate::provenance::Provenance;
use crate::result::{RunOutcome, StageResult};
use crate::spec::PipelineSpec;
use crate::store::Store;
use crate::story::{
    AttemptStory, EventStory, PointStory, STORY_FORMAT, StageStory, Story, append_points,
    append_resumption,
};

/// Seconds between two heartbeats of a run.
const HEARTBEAT_SECONDS: u64 = 5;

/// Writes down what happens in a run.
pub(crate) struct Recorder<'a> {
    registry: &'a Registry,
    store: &'a Store,
    id: i64,
    name: String,
    folder: PathBuf,
    story: Story,
    points: Vec<(String, MetricPoint)>,
    /// Rows of attempts that have not ended, each with its position in the story.
    open_attempts: Vec<(i64, usize)>,
    last_heartbeat: Instant,
}

impl<'a> Recorder<'a> {
    /// Enters a run in the registry and makes its folder.
    pub(crate) async fn start_run(
        registry: &'a Registry,
        store: &'a Store,
        spec: &PipelineSpec,
        plan: &Plan,
        provenance: &Provenance,
    ) -> Result<Self, PipelineError> {
        let run = NewRun {
            pipeline: spec.name.clone(),
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
        let started = patchwork_registry::now();
        let record = registry.create_run(&run).await?;
        let folder = store.logs(&record.name);
        durable::create_dir_all(&folder)?;
        let story = Story {
            format: STORY_FORMAT.to_owned(),
            run: record.name.clone(),
            pipeline: run.pipeline,
            status: RunStatus::Running,
            started,
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
        };
        story.write(&folder)?;
        Ok(Self {
            registry,
            store,
            id: record.id,
            name: record.name,
            folder,
            story,
            points: Vec::new(),
            open_attempts: Vec::new(),
            last_heartbeat: Instant::now(),
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

    pub(crate) async fn start_attempt(
        &mut self,
        stage: &str,
        number: u32,
        pid: u32,
    ) -> Result<i64, PipelineError> {
        let attempt = self
            .registry
            .start_attempt(self.id, stage, number, pid)
            .await?;
        self.open_attempts
            .push((attempt, self.story.attempts.len()));
        let started = patchwork_registry::now();
        self.story.attempts.push(AttemptStory {
            stage: stage.to_owned(),
            number,
            pid,
            started: started.clone(),
            ended: None,
            exit: None,
            error: Vec::new(),
            cpu_seconds: None,
            peak_memory_bytes: None,
        });
        if let Some(stage) = self.story.stage_mut(stage) {
            stage.status = StageStatus::Running;
            stage.started.get_or_insert(started);
        }
        self.story.write(&self.folder)?;
        Ok(attempt)
    }

    pub(crate) async fn end_attempt(
        &mut self,
        attempt: i64,
        exit: &str,
        chain: &[String],
    ) -> Result<(), PipelineError> {
        self.write_points().await?;
        if let Some(open) = self.open_attempts.iter().position(|open| open.0 == attempt) {
            let (_, position) = self.open_attempts.remove(open);
            let story = &mut self.story.attempts[position];
            story.ended = Some(patchwork_registry::now());
            story.exit = Some(exit.to_owned());
            story.error = chain.to_vec();
            self.story.write(&self.folder)?;
        }
        let error = (!chain.is_empty()).then(|| chain.join("\n"));
        self.registry
            .end_attempt(
                attempt,
                AttemptEnd {
                    exit: exit.to_owned(),
                    error,
                },
            )
            .await?;
        Ok(())
    }

    /// Writes what an attempt has taken of the machine.
    pub(crate) async fn resources(
        &mut self,
        attempt: i64,
        cpu_seconds: f64,
        peak_memory_bytes: u64,
    ) -> Result<(), PipelineError> {
        self.registry
            .record_resources(attempt, cpu_seconds, peak_memory_bytes)
            .await?;
        if let Some(&(_, position)) = self.open_attempts.iter().find(|open| open.0 == attempt) {
            let story = &mut self.story.attempts[position];
            story.cpu_seconds = Some(cpu_seconds);
            story.peak_memory_bytes = Some(peak_memory_bytes);
        }
        Ok(())
    }

    /// Takes a measurement, which is written with others.
    pub(crate) fn metric(&mut self, stage: &str, name: &str, step: u64, value: f64) {
        let point = MetricPoint {
            name: name.to_owned(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            value,
            time: SystemTime::now(),
        };
        self.points.push((stage.to_owned(), point));
    }

    /// Drops a stage's measurements after a step: an attempt that goes on from there makes them again.
    pub(crate) async fn resumed(&mut self, stage: &str, step: u64) -> Result<(), PipelineError> {
        self.write_points().await?;
        append_resumption(&self.folder, stage, step)?;
        self.registry
            .drop_metrics_after(self.id, stage, i64::try_from(step).unwrap_or(i64::MAX))
            .await?;
        Ok(())
    }

    pub(crate) async fn warning(
        &mut self,
        stage: &str,
        message: &str,
    ) -> Result<(), PipelineError> {
        self.registry
            .record_event(self.id, Some(stage), EventLevel::Warning, message)
            .await?;
        self.story.events.push(EventStory {
            stage: Some(stage.to_owned()),
            level: EventLevel::Warning,
            message: message.to_owned(),
            time: patchwork_registry::now(),
        });
        self.story.write(&self.folder)?;
        Ok(())
    }

    /// Writes what has gathered; called every second.
    pub(crate) async fn beat(&mut self) -> Result<(), PipelineError> {
        self.write_points().await?;
        if self.last_heartbeat.elapsed().as_secs() >= HEARTBEAT_SECONDS {
            self.last_heartbeat = Instant::now();
            for &(attempt, _) in &self.open_attempts {
                self.registry.heartbeat(attempt).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn end_stage(
        &mut self,
        result: &StageResult,
        planned: &PlannedStage,
    ) -> Result<(), PipelineError> {
        if let Some(outcome) = &result.outcome {
            let manifest = Manifest::read(&result.folder)?;
            let artifact = new_artifact(&manifest, self.relative(&result.folder));
            self.registry.record_artifact(&artifact).await?;
            for score in &outcome.scores {
                let score = new_score(score, &planned.spec.needs, patchwork_registry::now());
                self.registry
                    .record_score(self.id, &result.stage, &score)
                    .await?;
            }
        }
        let artifact = result.outcome.as_ref().map(|_| result.fingerprint);
        self.registry
            .set_stage(self.id, &result.stage, result.status, artifact)
            .await?;
        if let Some(stage) = self.story.stage_mut(&result.stage) {
            stage.status = result.status;
            stage.ended = Some(patchwork_registry::now());
        }
        self.story.write(&self.folder)?;
        Ok(())
    }

    pub(crate) async fn finish_run(&mut self, outcome: &RunOutcome) -> Result<(), PipelineError> {
        let interrupted = outcome
            .stages
            .iter()
            .any(|stage| stage.status == StageStatus::Interrupted);
        let status = if outcome.is_success() {
            RunStatus::Succeeded
        } else if outcome.signal.is_some() || interrupted {
            RunStatus::Interrupted
        } else {
            RunStatus::Failed
        };
        self.registry.finish_run(self.id, status).await?;
        self.story.status = status;
        self.story.ended = Some(patchwork_registry::now());
        self.story.write(&self.folder)?;
        Ok(())
    }

    async fn write_points(&mut self) -> Result<(), PipelineError> {
        let mut points = std::mem::take(&mut self.points);
        if !points.is_empty() {
            let story: Vec<PointStory> = points.iter().map(point_story).collect();
            append_points(&self.folder, &story)?;
        }
        while let Some((stage, _)) = points.first() {
            let stage = stage.clone();
            let (own, others): (Vec<_>, Vec<_>) =
                points.into_iter().partition(|(name, _)| *name == stage);
            let own: Vec<MetricPoint> = own.into_iter().map(|(_, point)| point).collect();
            self.registry.record_metrics(self.id, &stage, &own).await?;
            points = others;
        }
        Ok(())
    }

    fn relative(&self, folder: &std::path::Path) -> String {
        folder
            .strip_prefix(self.store.home())
            .unwrap_or(folder)
            .display()
            .to_string()
    }
}

fn point_story((stage, point): &(String, MetricPoint)) -> PointStory {
    let since_1970 = point.time.duration_since(SystemTime::UNIX_EPOCH);
    PointStory {
        stage: stage.clone(),
        name: point.name.clone(),
        step: point.step,
        value: point.value.is_finite().then_some(point.value),
        time: since_1970.map_or(0, |duration| {
            u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
        }),
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
