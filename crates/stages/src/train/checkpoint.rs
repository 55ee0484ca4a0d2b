//! The durable points of training.
//!
//! A checkpoint is a safetensors file, `checkpoint-STEP.NN.safetensors`, with weights, averages and moments as tensors
//! and everything else as JSON in its metadata, and a record, `checkpoint-STEP.NN.json`, written after it, with its
//! digest. NN counts the checkpoints of one step: none is ever written over another. Those of the newest two steps are
//! kept: should the last be damaged, training goes on from the one before it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use patchwork_core::{Digest, FileError, durable, file_error};
use patchwork_networks::NetworkError;
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use super::curve::LossCurve;
use super::divergence::{LossRange, Rollback};
use super::snapshots::Snapshots;

const KEPT: usize = 2;
const FORMAT: &str = "patchwork.checkpoint/2";
const STATE_KEY: &str = "patchwork.training";

/// Where training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Steps done.
    pub(crate) step: u64,
    /// The training clock.
    pub(crate) images_seen: u64,
    /// Images taken from the data set so far: the position in its endless shuffled order.
    pub(crate) images_drawn: u64,
    /// Steps whose draws were passed over when training went back: a step's draws are those of the sum.
    pub(crate) skipped_steps: u64,
}

impl Position {
    /// The position in the sequence of draws.
    pub(crate) fn draw(&self) -> u64 {
        self.step + self.skipped_steps
    }
}

/// Everything that training goes on from, but for tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) curve: LossCurve,
    pub(crate) range: LossRange,
    pub(crate) snapshots: Snapshots,
    pub(crate) rollbacks: Vec<Rollback>,
}

impl State {
    pub(crate) fn new(duration_images: u64) -> Self {
        Self {
            position: Position::default(),
            curve: LossCurve::new(duration_images),
            range: LossRange::default(),
            snapshots: Snapshots::default(),
            rollbacks: Vec::new(),
        }
    }
}

/// A checkpoint that was read and found whole.
pub(crate) struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) state: State,
}

impl Checkpoint {
    /// The tensors under a prefix, without it, together with others.
    pub(crate) fn tensors(
        &self,
        prefix: &str,
        others: &BTreeMap<String, Tensor>,
    ) -> BTreeMap<String, Tensor> {
        self.tensors
            .iter()
            .filter_map(|(name, tensor)| {
                Some((
                    name.strip_prefix(prefix)?.to_owned(),
                    tensor.shallow_clone(),
                ))
            })
            .chain(
                others
                    .iter()
                    .map(|(name, tensor)| (name.clone(), tensor.shallow_clone())),
            )
            .collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: String,
    blake3: Digest,
}

/// The checkpoints in a stage's folder.
pub(crate) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    pub(crate) fn open(folder: &Path) -> Result<Self, FileError> {
        durable::remove_partials(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The newest whole checkpoint, and a message for each newer one that is not. The latter are set aside, so that they
    /// do not count among those that are kept.
    ///
    /// # Errors
    /// [`RestoreError::NoneWhole`] where there are checkpoints and none of them can be used: hours of training are not
    /// to be begun again without a word.
    pub(crate) fn newest(&self) -> Result<(Option<Checkpoint>, Vec<String>), RestoreError> {
        let mut problems = Vec::new();
        let mut unusable: Vec<PathBuf> = Vec::new();
        let mut records = self.records()?;
        while let Some(record) = records.pop() {
            match read(&record) {
                Ok(checkpoint) => {
                    for record in &unusable {
                        set_aside(record)?;
                    }
                    return Ok((Some(checkpoint), problems));
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
        Ok(!self.records()?.is_empty())
    }

    /// The snapshots that the checkpoints list, those of every one; none where one of them cannot be read.
    pub(crate) fn listed_snapshots(&self) -> Result<Option<Vec<Snapshots>>, FileError> {
        let states = self.records()?.into_iter().map(|record| {
            let state = read_state(&record.with_extension("safetensors"));
            state.ok().map(|state| state.snapshots)
        });
        Ok(states.collect())
    }

    /// Writes a checkpoint, then removes all but those of the newest two steps.
    pub(crate) fn save(
        &self,
        tensors: &[(String, Tensor)],
        state: &State,
    ) -> Result<(), NetworkError> {
        let text = serde_json::to_string(state).expect("a training's state is plain data");
        let metadata = HashMap::from([(STATE_KEY.to_owned(), text)]);
        let bytes = to_safetensors_bytes(tensors, Some(metadata))?;
        let step = format!("checkpoint-{:09}", state.position.step);
        let before = self.records()?;
        let of_step = before
            .iter()
            .filter(|record| name(record).starts_with(&step));
        let number = of_step.clone().filter_map(|record| number(record)).max();
        let number = number.map_or(0, |number| number + 1);
        let record = self.folder.join(format!("{step}.{number:02}.json"));
        durable::write(&record.with_extension("safetensors"), &bytes)?;
        durable::write_json(
            &record,
            &Record {
                format: FORMAT.to_owned(),
                blake3: Digest::of(&bytes),
            },
        )?;
        for old in of_step {
            remove(old)?;
        }
        let records = self.records()?;
        for old in &records[..records.len().saturating_sub(KEPT)] {
            remove(old)?;
        }
        Ok(())
    }

    /// Removes the newest checkpoint if there is an older one to go on from; says whether it was so.
    pub(crate) fn forget_newest(&self) -> Result<bool, FileError> {
        let mut records = self.records()?;
        let Some(newest) = records.pop().filter(|_| !records.is_empty()) else {
            return Ok(false);
        };
        remove(&newest)?;
        Ok(true)
    }

    /// The records, oldest first: their names sort by step.
    fn records(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = durable::list(&self.folder)?;
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        Ok(paths)
    }
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

/// Takes an unusable checkpoint out of the way of others, and keeps it for whoever wants to look.
fn set_aside(record: &Path) -> Result<(), FileError> {
    durable::rename_file(record, &record.with_extension("unusable"))
}

fn remove(record: &Path) -> Result<(), FileError> {
    // The record goes first: without it the tensors are no checkpoint.
    durable::remove_file(record)?;
    durable::remove_file(&record.with_extension("safetensors"))
}

/// Why training cannot go on from its checkpoints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "none of the checkpoints can be used:\n{problems}\nhint: make `{}` readable again or restore it, or delete it \
         to begin training anew",
        .folder.display()
    )]
    NoneWhole { folder: PathBuf, problems: String },
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tensors(#[from] NetworkError),
    #[error("its tensors' digest is {found}, the record says {recorded}")]
    Digest { recorded: Digest, found: Digest },
    #[error("its format is `{0}`, this version reads `{FORMAT}`")]
    Format(String),
    #[error("it does not say where training stood: {0}")]
    State(#[from] serde_json::Error),
}

fn read(record_path: &Path) -> Result<Checkpoint, CheckpointError> {
    let record: Record = file_error::read_json(record_path)?;
    if record.format != FORMAT {
        return Err(CheckpointError::Format(record.format));
    }
    let path = record_path.with_extension("safetensors");
    let found = Digest::of_file(&path)?;
    if found != record.blake3 {
        return Err(CheckpointError::Digest {
            recorded: record.blake3,
            found,
        });
    }
    Ok(Checkpoint {
        tensors: read_safetensors(&path)?,
        state: read_state(&path)?,
    })
}

/// Where training stood, from a checkpoint's safetensors file.
fn read_state(path: &Path) -> Result<State, CheckpointError> {
    let header: Value = serde_json::from_slice(&read_header(path)?)?;
    let text = header["__metadata__"][STATE_KEY].as_str();
    Ok(serde_json::from_str(text.unwrap_or_default())?)
}

/// The JSON at the head of a safetensors file.
fn read_header(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::new("read", path, source);
    let mut file: File = file_error::open(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(failed)?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length))
        .read_to_end(&mut header)
        .map_err(failed)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn save(checkpoints: &Checkpoints, step: u64, value: f64) {
        let mut state = State::new(100);
        state.position.step = step;
        let tensor = Tensor::full([2], value, (Kind::Float, tch::Device::Cpu));
        let tensors = [("x".to_owned(), tensor)];
        checkpoints.save(&tensors, &state).unwrap();
    }

    fn newest(checkpoints: &Checkpoints) -> (u64, f64) {
        let (found, _) = checkpoints.newest().unwrap();
        let found = found.unwrap();
        (
            found.state.position.step,
            found.tensors["x"].double_value(&[0]),
        )
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let records = checkpoints.records().unwrap();
        records
            .iter()
            .map(|record| name(record).into_owned())
            .collect()
    }

    #[test]
    fn those_of_the_newest_two_steps_are_kept_and_unusable_ones_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        assert!(!checkpoints.is_any().unwrap());
        for (step, value) in [(5, 1.0), (6, 2.0), (6, 3.0), (7, 4.0), (7, 5.0)] {
            save(&checkpoints, step, value);
            assert_eq!(newest(&checkpoints), (step, value));
        }
        let kept = [
            "checkpoint-000000006.01.json",
            "checkpoint-000000007.01.json",
        ];
        assert_eq!(names(&checkpoints), kept);
        assert_eq!(durable::list(folder.path()).unwrap().len(), 4);
        assert_eq!(checkpoints.listed_snapshots().unwrap().unwrap().len(), 2);

        let tensors = folder.path().join("checkpoint-000000007.01.safetensors");
        std::fs::write(&tensors, "x").unwrap();
        assert_eq!(newest(&checkpoints), (6, 3.0));
        // Older steps than the unusable one's are the newest now.
        save(&checkpoints, 3, 6.0);
        save(&checkpoints, 4, 7.0);
        assert_eq!(names(&checkpoints).len(), 2);
        assert!(checkpoints.forget_newest().unwrap());

        for record in checkpoints.records().unwrap() {
            std::fs::write(record, "{}").unwrap();
        }
        let refused = checkpoints.newest().err().unwrap().to_string();
        assert!(
            refused.contains("none of the checkpoints can be used"),
            "{refused}"
        );
    }
}
