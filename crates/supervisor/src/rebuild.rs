//! The registry made again: the records of the runs' folders applied once more, all of them or those of the runs that are
//! missing from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchwork_artifacts::event::{Artifact, Event, Record, RunScore, StageStart};
use patchwork_artifacts::manifest::{MANIFEST_FILE, Manifest};
use patchwork_artifacts::{Store, Timestamp};
use patchwork_core::{FileError, durable};
use patchwork_registry::Registry;

use crate::error::PipelineError;
use crate::run_folder::read_series;
use crate::run_folders::{RunFolder, RunFolders};
use crate::run_records::RunRecords;

/// What was entered in a registry.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// The names of runs, from `logs/RUN/journal.jsonl`, or `run.json` of earlier versions.
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

/// Enters everything that the home folder records into an empty registry. What cannot be read is skipped and listed.
pub async fn rebuild(store: &Store, registry: &Registry) -> Result<Entered, PipelineError> {
    let mut entered = Entered::default();
    for kind in durable::list(&store.home().join("artifacts"))? {
        if !kind.is_dir() {
            entered.leave_out(&kind, &"it is not a folder of artifacts");
            continue;
        }
        for folder in durable::list(&kind)? {
            if !folder.join(MANIFEST_FILE).is_file() {
                entered.leave_out(&folder, &"it is not an artifact: it has no manifest");
                continue;
            }
            match Manifest::read(&folder) {
                Ok(manifest) => {
                    let artifact = Artifact::of(&manifest, relative(store, &folder));
                    registry
                        .record_artifact(&artifact, Timestamp::now())
                        .await?;
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
        // A copy of the folder of a run that is entered is not a loss.
        if !known.contains(&unusable.run) {
            entered.leave_out(&unusable.path, &unusable.problem);
        }
    }
    for RunFolder { path, run } in folders.readable {
        let name = run.start.run.clone();
        match enter_run(store, registry, run, &path, entered).await {
            Ok(true) => entered.runs.push(name),
            Ok(false) => {}
            Err(PipelineError::File(error)) => entered.leave_out(&path, &error),
            Err(error) => return Err(error),
        }
    }
    // Records name artifacts that were deleted since.
    let is_there = |path: &str| store.home().join(path).try_exists().unwrap_or(true);
    registry.mark_gone_artifacts(is_there).await?;
    Ok(())
}

/// Applies the records of a run and its measurements, in one write; says whether the run is entered. Records that the
/// registry does not take are listed.
async fn enter_run(
    store: &Store,
    registry: &Registry,
    run: RunRecords,
    path: &Path,
    entered: &mut Entered,
) -> Result<bool, PipelineError> {
    let measurements = read_series(path)?;
    let points = measurements.len();
    let RunRecords {
        start,
        mut records,
        unreadable,
        ..
    } = run;
    for record in &mut records {
        complete(record, &start.stages, store);
    }
    records.extend(measurements);
    let refusals = registry.apply(&start.run, &records).await?;
    if let Some(refusal) = refusals.first() {
        let is_whole = refusal.records.start == 0;
        let count: usize = refusals.iter().map(|refusal| refusal.records.len()).sum();
        entered.leave_out(
            path,
            &if is_whole {
                refusal.cause.to_string()
            } else {
                format!("{count} of its records: {}", refusal.cause)
            },
        );
        if is_whole {
            return Ok(false);
        }
    }
    if unreadable > 0 {
        entered.leave_out(
            path,
            &format!("{unreadable} lines of its journal, which cannot be read"),
        );
    }
    entered.points += points;
    Ok(true)
}

/// Adds to the end of a stage, as earlier versions recorded it, what the manifest of its artifact says. The artifact
/// may have been deleted since.
fn complete(record: &mut Record, stages: &[StageStart], store: &Store) {
    let Event::StageEnded {
        status,
        artifact: artifact @ None,
        scores,
    } = &mut record.event
    else {
        return;
    };
    let stage = stages
        .iter()
        .find(|stage| Some(&stage.name) == record.stage.as_ref());
    let Some(stage) = stage.filter(|_| status.is_done()) else {
        return;
    };
    if let Ok(Some(manifest)) = store.find(&stage.kind, stage.fingerprint) {
        let folder = store.artifact(&stage.kind, stage.fingerprint);
        *artifact = Some(Box::new(Artifact::of(&manifest, relative(store, &folder))));
        if scores.is_empty() {
            *scores = RunScore::all(&manifest.outcome, &stage.needs);
        }
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
/// Killed at any moment, it leaves a registry: the old one or the rebuilt one. Both must be closed. Call it under
/// [`Store::lock_planning`], with no run at work.
pub fn replace_registry(store: &Store, rebuilt: &Path, time: &str) -> Result<(), FileError> {
    let current = store.registry();
    let kept = current.with_file_name(format!("registry-{time}.db"));
    for suffix in SUFFIXES {
        let (old, kept) = (with_suffix(&current, suffix), with_suffix(&kept, suffix));
        match old.symlink_metadata() {
            Ok(entry) if entry.is_file() => durable::keep_as(&old, &kept)?,
            // No database, or a link to one.
            Ok(_) => durable::move_aside(&old, &kept)?,
            Err(_) => {}
        }
    }
    // A log of the old database's writes would be applied to the new one.
    for suffix in &SUFFIXES[1..] {
        durable::remove_file(&with_suffix(&current, suffix))?;
    }
    durable::rename_file(rebuilt, &current)
}

/// The files of a database: itself, the log of its latest writes, and the index of that.
pub const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
