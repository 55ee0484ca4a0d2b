//! The registry made again from the runs' folders and the artifacts' manifests.

use std::path::Path;
use std::time::{Duration, SystemTime};

use patchwork_core::{FileError, durable};
use patchwork_registry::{
    MetricPoint, NewRun, NewStage, PastAttempt, PastRun, PastStage, Registry, now,
};

use crate::error::PipelineError;
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::recorder::{new_artifact, new_score};
use crate::store::Store;
use crate::story::{STORY_FILE, Story, read_points};

/// What a rebuilt registry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Runs, from `logs/RUN/run.json`.
    pub runs: usize,
    /// Artifacts, from `artifacts/KIND/FINGERPRINT/manifest.json`.
    pub artifacts: usize,
    /// Points of series, from `logs/RUN/series.jsonl`.
    pub points: usize,
    /// Run folders whose story cannot be read and that are left out.
    pub unreadable: usize,
}

/// Enters everything that the home folder tells into an empty registry.
pub async fn rebuild(store: &Store, registry: &Registry) -> Result<Rebuilt, PipelineError> {
    let mut rebuilt = Rebuilt::default();
    for kind in durable::list(&store.home().join("artifacts"))? {
        for folder in durable::list(&kind)? {
            if folder.join(MANIFEST_FILE).is_file() {
                let manifest = Manifest::read(&folder)?;
                let path = relative(store, &folder);
                registry
                    .record_artifact(&new_artifact(&manifest, path), &now())
                    .await?;
                rebuilt.artifacts += 1;
            }
        }
    }
    let mut stories = Vec::new();
    for folder in durable::list(&store.home().join("logs"))? {
        if folder.join(STORY_FILE).is_file() {
            match Story::read(&folder) {
                Ok(story) => stories.push((story, folder)),
                Err(_) => rebuilt.unreadable += 1,
            }
        }
    }
    stories.sort_by(|a, b| a.0.started.cmp(&b.0.started));
    for (story, folder) in &stories {
        let id = registry.restore_run(&past(story)).await?;
        rebuilt.runs += 1;
        rebuilt.points += restore_series(registry, id, folder).await?;
        restore_scores(store, registry, id, story).await?;
    }
    Ok(rebuilt)
}

async fn restore_series(
    registry: &Registry,
    id: i64,
    folder: &Path,
) -> Result<usize, PipelineError> {
    let points = read_points(folder)?;
    let mut stages: Vec<&str> = points.iter().map(|point| point.stage.as_str()).collect();
    stages.sort_unstable();
    stages.dedup();
    for stage in stages {
        let own: Vec<MetricPoint> = points
            .iter()
            .filter(|point| point.stage == stage)
            .map(|point| MetricPoint {
                name: point.name.clone(),
                step: point.step,
                value: point.value.unwrap_or(f64::NAN),
                time: SystemTime::UNIX_EPOCH + Duration::from_millis(point.time),
            })
            .collect();
        registry.record_metrics(id, stage, &own).await?;
    }
    Ok(points.len())
}

async fn restore_scores(
    store: &Store,
    registry: &Registry,
    id: i64,
    story: &Story,
) -> Result<(), PipelineError> {
    for stage in story.stages.iter().filter(|stage| stage.status.is_done()) {
        // Artifacts that made no scores may have been deleted since.
        let Some(manifest) = store.find(&stage.kind, stage.fingerprint)? else {
            continue;
        };
        for score in &manifest.outcome.scores {
            let time = stage.ended.clone().unwrap_or_else(|| story.started.clone());
            let score = new_score(score, &stage.needs, time);
            registry.record_score(id, &stage.name, &score).await?;
        }
    }
    Ok(())
}

fn past(story: &Story) -> PastRun {
    let provenance = &story.provenance;
    PastRun {
        run: NewRun {
            pipeline: story.pipeline.clone(),
            definition_json: story.definition.to_string(),
            command: provenance.command.join(" "),
            working_folder: provenance.working_folder.clone(),
            git_revision: provenance.git_revision.clone(),
            git_dirty: provenance.git_dirty,
            host: provenance.host.clone(),
            cpu: provenance.cpu.clone(),
            threads: provenance.threads,
            gpus: provenance.gpus.clone(),
            versions_json: provenance.versions.to_string(),
            params: story.params.clone(),
            stages: story
                .stages
                .iter()
                .enumerate()
                .map(|(position, stage)| NewStage {
                    name: stage.name.clone(),
                    kind: stage.kind.clone(),
                    fingerprint: stage.fingerprint,
                    position,
                })
                .collect(),
        },
        name: story.run.clone(),
        status: story.status,
        started: story.started.clone(),
        ended: story.ended.clone(),
        pid: story.pid,
        stages: story
            .stages
            .iter()
            .map(|stage| PastStage {
                status: stage.status,
                started: stage.started.clone(),
                ended: stage.ended.clone(),
            })
            .collect(),
        attempts: story
            .attempts
            .iter()
            .map(|attempt| PastAttempt {
                stage: attempt.stage.clone(),
                number: attempt.number,
                pid: attempt.pid,
                started: attempt.started.clone(),
                ended: attempt.ended.clone(),
                exit: attempt.exit.clone(),
                error: (!attempt.error.is_empty()).then(|| attempt.error.join("\n")),
                cpu_seconds: attempt.cpu_seconds,
                peak_memory_bytes: attempt.peak_memory_bytes,
            })
            .collect(),
        events: story
            .events
            .iter()
            .map(|event| {
                (
                    event.stage.clone(),
                    event.level,
                    event.message.clone(),
                    event.time.clone(),
                )
            })
            .collect(),
    }
}

fn relative(store: &Store, folder: &Path) -> String {
    folder
        .strip_prefix(store.home())
        .unwrap_or(folder)
        .display()
        .to_string()
}

/// Puts a rebuilt registry in the place of the old one, which is kept beside it under a name with its time.
///
/// Both must be closed. Call it under [`Store::lock_planning`], with no run at work.
pub fn replace_registry(store: &Store, rebuilt: &Path, time: &str) -> Result<(), FileError> {
    let current = store.registry();
    for suffix in ["", "-wal", "-shm"] {
        let with_suffix = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            std::path::PathBuf::from(name)
        };
        let old = with_suffix(&current);
        if old.exists() {
            let kept = with_suffix(&current.with_file_name(format!("registry-{time}.db")));
            durable::rename_file(&old, &kept)?;
        }
    }
    durable::rename_file(rebuilt, &current)
}
