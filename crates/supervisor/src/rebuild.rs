//! The registry made again from the runs' folders and the artifacts' manifests: all of it, or the runs that one lacks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use patchwork_artifacts::Store;
use patchwork_artifacts::manifest::{MANIFEST_FILE, Manifest};
use patchwork_core::{FileError, durable};
use patchwork_registry::{
    MetricPoint, NewRun, NewScore, NewStage, PastAttempt, PastRun, PastStage, Registry,
    RegistryError, now,
};

use crate::error::PipelineError;
use crate::recorder::{new_artifact, new_score};
use crate::run_folders::{RunFolder, RunFolders};
use crate::story::{Story, read_points};

/// What was entered in a registry.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// The names of runs, from `logs/RUN/run.json`.
    pub runs: Vec<String>,
    /// Artifacts, from `artifacts/KIND/FINGERPRINT/manifest.json`.
    pub artifacts: usize,
    /// Points of series, from `logs/RUN/series.jsonl`.
    pub points: usize,
    /// What could not be entered.
    pub left_out: Vec<LeftOut>,
}

/// Something in the home folder that could not be entered.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub problem: String,
}

/// Enters everything that the home folder tells into an empty registry. What cannot be read is left out and listed.
pub async fn rebuild(store: &Store, registry: &Registry) -> Result<Entered, PipelineError> {
    let mut entered = Entered::default();
    for kind in durable::list(&store.home().join("artifacts"))? {
        if !kind.is_dir() {
            entered.leave_out(&kind, &"it is no folder of artifacts");
            continue;
        }
        for folder in durable::list(&kind)? {
            if !folder.join(MANIFEST_FILE).is_file() {
                entered.leave_out(&folder, &"it is no artifact: it has no manifest");
                continue;
            }
            match Manifest::read(&folder) {
                Ok(manifest) => {
                    enter_artifact(store, registry, &manifest, &folder).await?;
                    entered.artifacts += 1;
                }
                Err(error) => entered.leave_out(&folder, &error),
            }
        }
    }
    enter_runs(store, registry, &BTreeSet::new(), &mut entered).await?;
    Ok(entered)
}

/// Enters the runs, with their artifacts, that have a folder and that the registry does not know: it was lost, or an
/// older copy was put in its place. Call it under [`Store::lock_planning`].
pub async fn enter_unknown_runs(
    store: &Store,
    registry: &Registry,
) -> Result<Entered, PipelineError> {
    let known = registry.run_names().await?;
    let mut entered = Entered::default();
    enter_runs(store, registry, &known, &mut entered).await?;
    Ok(entered)
}

impl Entered {
    fn leave_out(&mut self, path: &Path, problem: &impl ToString) {
        self.left_out.push(LeftOut {
            path: path.to_owned(),
            problem: problem.to_string(),
        });
    }
}

async fn enter_runs(
    store: &Store,
    registry: &Registry,
    known: &BTreeSet<String>,
    entered: &mut Entered,
) -> Result<(), PipelineError> {
    let folders = RunFolders::read(store, known)?;
    for unusable in folders.unusable {
        // A copy of the folder of a run that is entered is no loss.
        if !known.contains(&unusable.run) {
            entered.leave_out(&unusable.path, &unusable.problem);
        }
    }
    for folder in folders.readable {
        match enter_run(store, registry, &folder).await {
            Ok(points) => {
                entered.points += points;
                entered.runs.push(folder.story.run);
            }
            Err(PipelineError::Registry(error)) if error.is_refusal() => {
                entered.leave_out(&folder.path, &error);
            }
            Err(PipelineError::File(error)) => entered.leave_out(&folder.path, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Enters a run and the artifacts of its stages that are there; gives how many points its series have.
async fn enter_run(
    store: &Store,
    registry: &Registry,
    folder: &RunFolder,
) -> Result<usize, PipelineError> {
    let story = &folder.story;
    let mut run = past(story);
    for stage in story.stages.iter().filter(|stage| stage.status.is_done()) {
        // Artifacts that made no scores may have been deleted since.
        let Ok(Some(manifest)) = store.find(&stage.kind, stage.fingerprint) else {
            continue;
        };
        let place = store.artifact(&stage.kind, stage.fingerprint);
        enter_artifact(store, registry, &manifest, &place).await?;
        let time = stage.ended.as_ref().unwrap_or(&story.started);
        let scores = manifest.outcome.scores.iter();
        let scores = scores.map(|score| new_score(score, &stage.needs, time.clone()));
        let scores = scores.map(|score: NewScore| (stage.name.clone(), score));
        run.scores.extend(scores);
    }
    run.points = series(folder)?;
    registry.restore_run(&run).await?;
    Ok(run.points.iter().map(|(_, points)| points.len()).sum())
}

async fn enter_artifact(
    store: &Store,
    registry: &Registry,
    manifest: &Manifest,
    folder: &Path,
) -> Result<(), RegistryError> {
    let path = relative(store, folder);
    registry
        .record_artifact(&new_artifact(manifest, path), &now())
        .await
}

/// The series of each of the run's stages.
fn series(folder: &RunFolder) -> Result<Vec<(String, Vec<MetricPoint>)>, FileError> {
    let stages = folder.story.stages.iter();
    let mut series: Vec<(String, Vec<MetricPoint>)> = stages
        .map(|stage| (stage.name.clone(), Vec::new()))
        .collect();
    for point in read_points(&folder.path)? {
        let own = series.iter_mut().find(|(stage, _)| *stage == point.stage);
        let Some((_, points)) = own else { continue };
        points.push(MetricPoint {
            name: point.name,
            step: point.step,
            value: point.value.unwrap_or(f64::NAN),
            time: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(point.time))
                .unwrap_or(SystemTime::UNIX_EPOCH),
        });
    }
    Ok(series)
}

fn past(story: &Story) -> PastRun {
    let provenance = &story.provenance;
    PastRun {
        run: NewRun {
            pipeline: story.pipeline.clone(),
            // It has its number already.
            least_number: 1,
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
        points: Vec::new(),
        scores: Vec::new(),
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
