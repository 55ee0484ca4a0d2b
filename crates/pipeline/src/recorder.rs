//! What a run leaves behind: rows in the registry, and a folder of logs that tells the same story.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use patchwork_core::durable;
use patchwork_registry::{
    AttemptEnd, EventLevel, MetricPoint, NewArtifact, NewRun, NewScore, NewStage, Registry,
    RunStatus, StageStatus,
};
use serde_json::{Value, json};

use crate::error::PipelineError;
use crate::executor::{RunOutcome, StageResult};
use crate::flatten::flatten;
use crate::manifest::{Manifest, Score, Subject};
use crate::plan::{Plan, PlannedStage};
use crate::provenance::Provenance;
use crate::spec::PipelineSpec;
use crate::store::Store;

/// The file in a run's folder that tells its story without the registry.
const RUN_FILE: &str = "run.json";

/// Seconds between two heartbeats of a run.
const HEARTBEAT_SECONDS: u64 = 5;

/// Writes down what happens in a run.
pub(crate) struct Recorder<'a> {
    registry: &'a Registry,
    store: &'a Store,
    id: i64,
    name: String,
    folder: PathBuf,
    story: Value,
    points: Vec<(String, MetricPoint)>,
    open_attempts: Vec<i64>,
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
        durable::create_dir_all(&folder)?;
        let story = json!({
            "format": "patchwork.run/1",
            "run": record.name,
            "status": RunStatus::Running,
            "provenance": provenance,
            "definition": spec.definition,
            "stages": plan.stages.iter().map(|stage| json!({
                "name": stage.spec.name,
                "kind": stage.spec.kind,
                "fingerprint": stage.fingerprint,
                "status": StageStatus::Pending,
            })).collect::<Vec<_>>(),
        });
        durable::write_json(&folder.join(RUN_FILE), &story)?;
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
        self.open_attempts.push(attempt);
        Ok(attempt)
    }

    pub(crate) async fn end_attempt(
        &mut self,
        attempt: i64,
        exit: &str,
        chain: &[String],
    ) -> Result<(), PipelineError> {
        self.write_points().await?;
        self.open_attempts.retain(|&open| open != attempt);
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

    pub(crate) async fn warning(&self, stage: &str, message: &str) -> Result<(), PipelineError> {
        self.registry
            .record_event(self.id, Some(stage), EventLevel::Warning, message)
            .await?;
        Ok(())
    }

    /// Writes what has gathered; called every second.
    pub(crate) async fn beat(&mut self) -> Result<(), PipelineError> {
        self.write_points().await?;
        if self.last_heartbeat.elapsed().as_secs() >= HEARTBEAT_SECONDS {
            self.last_heartbeat = Instant::now();
            for &attempt in &self.open_attempts {
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
            let artifact = NewArtifact {
                fingerprint: result.fingerprint,
                kind: result.kind.clone(),
                path: self.relative(&result.folder),
                bytes: manifest.files.iter().map(|file| file.bytes).sum(),
                inputs: planned
                    .inputs
                    .iter()
                    .map(|input| (input.kind.clone(), input.fingerprint))
                    .collect(),
                summary_json: Value::Object(outcome.summary.clone()).to_string(),
            };
            self.registry.record_artifact(&artifact).await?;
            for score in &outcome.scores {
                let score = new_score(score, &planned.spec.needs);
                self.registry
                    .record_score(self.id, &result.stage, &score)
                    .await?;
            }
        }
        let artifact = result.outcome.as_ref().map(|_| result.fingerprint);
        self.registry
            .set_stage(self.id, &result.stage, result.status, artifact)
            .await?;
        if let Some(stages) = self.story["stages"].as_array_mut()
            && let Some(stage) = stages
                .iter_mut()
                .find(|stage| stage["name"] == result.stage)
        {
            stage["status"] = json!(result.status);
            stage["seconds"] = json!(result.duration.as_secs_f64());
            if !result.error.is_empty() {
                stage["error"] = json!(result.error);
            }
        }
        durable::write_json(&self.folder.join(RUN_FILE), &self.story)?;
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
        self.story["status"] = json!(status);
        durable::write_json(&self.folder.join(RUN_FILE), &self.story)?;
        Ok(())
    }

    async fn write_points(&mut self) -> Result<(), PipelineError> {
        let mut points = std::mem::take(&mut self.points);
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

fn new_score(score: &Score, needs: &[String]) -> NewScore {
    NewScore {
        subject: match &score.subject {
            Subject::Input(position) => needs.get(*position).cloned().unwrap_or_default(),
            Subject::Baseline(name) => name.clone(),
        },
        metric: score.metric.clone(),
        value: score.value,
        extractor: score.extractor.clone(),
        extractor_hash: score.extractor_digest.to_string(),
        resize: score.resize.clone(),
        reference: score.reference,
        reference_images: score.reference_images,
        samples: score.samples,
        seeds: score.seeds.clone(),
        codec: score.codec.clone(),
        images_seen: score.images_seen,
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
