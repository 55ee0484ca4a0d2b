//! The durable points of training: a network's, or an autoencoder's.
//!
//! A checkpoint is a safetensors file, `checkpoint-STEP.NN.safetensors`, with weights, averages and moments as tensors
//! and everything else as JSON in its metadata, and a record, `checkpoint-STEP.NN.json`, written after it, with its
//! digest. NN counts the checkpoints of one step: none is ever written over another. Those of the newest two steps are
//! kept: should the last be damaged, training resumes from the one before it. Two older ones are kept as well, about an
//! hour and about a day old, for what was astray before anybody could see it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use patchwork_core::{Digest, FileError, durable, file_error};
use patchwork_networks::NetworkError;
use serde::{Deserialize, Serialize};

use super::checkpoint_file::{Checkpoint, CheckpointError, read_state, verify};
use super::retention::RetainedSnapshots;

/// How many of the newest are kept.
const NEWEST: usize = 2;

/// One that is not older than this is kept beside them, and one that is not older than that.
const HOURS: Duration = Duration::from_hours(2);
const DAYS: Duration = Duration::from_hours(48);

/// Between two checkpoints that may grow old.
const MILESTONE_INTERVAL: Duration = Duration::from_mins(10);

const FORMAT: &str = "patchwork.checkpoint/2";

/// The extension of a record, and of that of an unusable checkpoint.
const RECORD: &str = "json";

/// What names of checkpoints begin with.
const PREFIX: &str = "checkpoint-";
const SET_ASIDE: &str = "unusable";

#[derive(Serialize, Deserialize)]
struct Record {
    format: String,
    blake3: Digest,
    /// When it was written, in seconds of Unix time, if it may grow old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    milestone: Option<u64>,
}

/// The checkpoints in a stage's folder.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// Records of those that could not be read when they were wanted: they stay, and do not count until training has come
    /// as far again.
    passed_over: Vec<PathBuf>,
    /// From when on the next one may grow old.
    next_milestone: Instant,
}

impl Checkpoints {
    /// Those in a folder, rid of tensors that a death left without their record.
    pub(crate) fn open(folder: &Path) -> Result<Self, FileError> {
        durable::remove_partials(folder)?;
        let paths = durable::list(folder)?;
        // What the folder lists is there, whatever a disk says of a single file that does not answer.
        let listed: HashSet<&PathBuf> = paths.iter().collect();
        for path in &paths {
            let has = |extension: &str| listed.contains(&path.with_extension(extension));
            let is_checkpoint = name(path).starts_with(PREFIX) && !is_record(path);
            if is_checkpoint && !has(RECORD) && !has(SET_ASIDE) {
                durable::remove_file(path)?;
            }
        }
        Ok(Self::of_another_process(folder))
    }

    /// Those that another process writes: this one does not look at them.
    pub(crate) fn of_another_process(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            passed_over: Vec::new(),
            next_milestone: Instant::now() + MILESTONE_INTERVAL,
        }
    }

    /// The newest whole checkpoint, as `open` gives it from its tensors' path and digest, and a message for each newer one
    /// that is not. Damaged ones are set aside, so that they do not count among those that are kept; what cannot be read
    /// now stays as it is.
    ///
    /// # Errors
    /// [`RestoreError::NoneWhole`] where there are checkpoints and none of them can be used: hours of training are not
    /// repeated silently. [`RestoreError::Unread`] where one of them might be, another time.
    pub(crate) fn newest<T>(
        &mut self,
        open: impl Fn(&Path, Digest) -> Result<T, CheckpointError>,
    ) -> Result<(Option<T>, Vec<String>), RestoreError> {
        let mut problems = Vec::new();
        let mut unusable: Vec<PathBuf> = Vec::new();
        let mut unread = Vec::new();
        let mut unread_error = None;
        let mut records = self.records()?;
        while let Some(record) = records.pop() {
            match read(&record, &open) {
                Ok(found) => {
                    for record in &unusable {
                        set_aside(record)?;
                    }
                    self.passed_over.append(&mut unread);
                    return Ok((Some(found), problems));
                }
                Err(error) if error.is_unread() => {
                    problems.push(format!(
                        "checkpoint `{}` cannot be read now ({error}); it stays, and training goes back to the one \
                         before it",
                        record.display()
                    ));
                    unread_error.get_or_insert(error);
                    unread.push(record);
                }
                Err(error) => {
                    problems.push(format!(
                        "checkpoint `{}` cannot be used ({error}); going back to the one before it",
                        record.display()
                    ));
                    unusable.push(record);
                }
            }
        }
        if let Some(error) = unread_error {
            return Err(error.into());
        }
        if problems.is_empty() {
            return Ok((None, problems));
        }
        Err(RestoreError::NoneWhole {
            folder: self.folder.clone(),
            problems: problems.join("\n"),
        })
    }

    /// Whether there is one, whole or not.
    pub(crate) fn is_any(&self) -> Result<bool, FileError> {
        Ok(!self.all_records()?.is_empty())
    }

    /// The tensors' file of the newest one that `is_wanted` wants of those that are whole.
    pub(crate) fn newest_file(
        &self,
        is_wanted: impl Fn(&Path) -> bool,
    ) -> Result<Option<PathBuf>, FileError> {
        let records = self.records()?.into_iter().rev();
        let mut files = records
            .filter(|record| read(record, &verify).is_ok())
            .map(|record| tensors_of(&record));
        Ok(files.find(|path| is_wanted(path)))
    }

    /// The snapshots that the checkpoints list, those of every one; none where one of them cannot be read.
    pub(crate) fn listed_snapshots(&self) -> Result<Option<Vec<RetainedSnapshots>>, FileError> {
        let states = self.all_records()?.into_iter().map(|record| {
            let state = read_state(&tensors_of(&record));
            state.ok().map(|state| state.snapshots)
        });
        Ok(states.collect())
    }

    /// Has a checkpoint of a step written to a path, whose digest `write` gives, then removes those that are not kept any
    /// more.
    pub(crate) fn save(
        &mut self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<Digest, NetworkError>,
    ) -> Result<(), NetworkError> {
        let step = format!("{PREFIX}{step:09}");
        let of_step: Vec<PathBuf> = durable::list(&self.folder)?
            .into_iter()
            .filter(|path| name(path).starts_with(&step))
            .collect();
        let number = of_step.iter().filter_map(|path| number(path)).max();
        let number = number.map_or(0, |number| number + 1);
        let record = self.folder.join(format!("{step}.{number:02}.{RECORD}"));
        let blake3 = write(&tensors_of(&record))?;
        let is_milestone = Instant::now() >= self.next_milestone;
        let content = Record {
            format: FORMAT.to_owned(),
            blake3,
            milestone: is_milestone.then(now),
        };
        durable::write_json(&record, &content)?;
        if is_milestone {
            self.next_milestone = Instant::now() + MILESTONE_INTERVAL;
        }
        for old in of_step.iter().filter(|path| is_record(path)) {
            remove(old)?;
        }
        self.passed_over.retain(|passed| *passed > record);
        self.remove_superseded()
    }

    fn remove_superseded(&self) -> Result<(), NetworkError> {
        let records = self.records()?;
        let (older, _) = records.split_at(records.len().saturating_sub(NEWEST));
        let now = now();
        let ages: Vec<Option<Duration>> = older
            .iter()
            .map(|record| {
                // One that does not answer is dealt with when it is wanted.
                let written = file_error::read_json::<Record>(record).ok()?.milestone?;
                Some(Duration::from_secs(now.saturating_sub(written)))
            })
            .collect();
        for index in superseded(&ages) {
            remove(&older[index])?;
        }
        Ok(())
    }

    /// Removes the newest checkpoint if there is an older one to resume from, which is opened for that; says whether it was
    /// so.
    pub(crate) fn forget_newest(&mut self) -> Result<bool, FileError> {
        let mut records = self.records()?;
        let Some(newest) = records.pop() else {
            return Ok(false);
        };
        if !records.iter().rev().any(|old| read(old, &verify).is_ok()) {
            return Ok(false);
        }
        remove(&newest)?;
        Ok(true)
    }

    /// The records that count, oldest first: their names sort by step.
    fn records(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut records = self.all_records()?;
        records.retain(|record| !self.passed_over.contains(record));
        Ok(records)
    }

    fn all_records(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = durable::list(&self.folder)?;
        paths.retain(|path| is_record(path));
        Ok(paths)
    }
}

/// Which of the checkpoints before the newest are not kept, by the ages of those that may grow old, oldest first.
///
/// The oldest of less than two hours stays, and the oldest of less than two days. Each is on its way to the next age, so
/// that they are about an hour and about a day old on average; where there is none between the ages, one beyond them stays.
fn superseded(ages: &[Option<Duration>]) -> Vec<usize> {
    let first = |is_wanted: &dyn Fn(Duration) -> bool| {
        let mut ages = ages.iter();
        ages.position(|age| age.is_some_and(is_wanted))
    };
    let hour = first(&|age| age < HOURS);
    let day = first(&|age| (HOURS..DAYS).contains(&age)).or_else(|| {
        let is_beyond = |age: &Option<Duration>| age.is_some_and(|age| age >= DAYS);
        ages.iter().rposition(is_beyond)
    });
    let is_kept = |index| hour == Some(index) || day == Some(index);
    (0..ages.len()).filter(|index| !is_kept(*index)).collect()
}

/// Seconds of Unix time.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Other notes of the stage lie in the folder as well, such as how latents are decoded.
fn is_record(path: &Path) -> bool {
    name(path).starts_with(PREFIX)
        && path
            .extension()
            .is_some_and(|extension| extension == RECORD)
}

fn tensors_of(record: &Path) -> PathBuf {
    record.with_extension("safetensors")
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Which of its step's checkpoints it is: the NN of its name.
fn number(record: &Path) -> Option<u32> {
    Path::new(record.file_stem()?)
        .extension()?
        .to_str()?
        .parse()
        .ok()
}

/// The checkpoint of another training in a file, which may have its record beside it.
pub(crate) fn of_another(path: &Path, digest: Digest) -> Result<Checkpoint, CheckpointError> {
    match file_error::read_json::<Record>(&path.with_extension(RECORD)) {
        Ok(Record { blake3, .. }) if blake3 != digest => {
            let (recorded, found) = (blake3, digest);
            return Err(CheckpointError::Digest { recorded, found });
        }
        Err(error) if !error.is_not_found() => return Err(error.into()),
        Err(_) if path.with_extension(SET_ASIDE).is_file() => {
            return Err(CheckpointError::SetAside);
        }
        _ => {}
    }
    Checkpoint::open(path, digest)
}

/// Takes an unusable checkpoint out of the way of others, and keeps it for whoever wants to look.
fn set_aside(record: &Path) -> Result<(), FileError> {
    durable::rename_file(record, &record.with_extension(SET_ASIDE))
}

fn remove(record: &Path) -> Result<(), FileError> {
    // The record goes first: without it the tensors are not a checkpoint.
    durable::remove_file(record)?;
    durable::remove_file(&tensors_of(record))
}

/// Why training cannot resume from its checkpoints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Unread(#[from] CheckpointError),
    #[error(
        "none of the checkpoints can be used:\n{problems}\nhint: make `{}` readable again or restore it, or delete it \
         to restart training from scratch",
        .folder.display()
    )]
    NoneWhole { folder: PathBuf, problems: String },
}

fn read<T>(
    record_path: &Path,
    open: &impl Fn(&Path, Digest) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let record: Record = file_error::read_json(record_path)?;
    if record.format != FORMAT {
        return Err(CheckpointError::Format {
            found: record.format,
            known: FORMAT,
        });
    }
    open(&tensors_of(record_path), record.blake3)
}

#[cfg(test)]
mod tests;
