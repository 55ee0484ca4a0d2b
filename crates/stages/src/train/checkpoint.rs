//! The durable points of training.
//!
//! A checkpoint is a safetensors file, `checkpoint-STEP.safetensors`, with weights, averages and moments as tensors
//! and everything else as JSON in its metadata, and a record, `checkpoint-STEP.json`, written after it, with its
//! digest. The newest two are kept: should the last be damaged, training goes on from the one before it.

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

    /// The newest whole checkpoint, and a message for each newer one that is not.
    pub(crate) fn newest(&self) -> Result<(Option<Checkpoint>, Vec<String>), FileError> {
        let mut damaged = Vec::new();
        let mut records = self.records()?;
        while let Some(record) = records.pop() {
            match read(&record) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(format!(
                    "checkpoint `{}` cannot be used ({error}); going back to {}",
                    record.display(),
                    match records.last() {
                        Some(_) => "the one before it",
                        None => "the beginning of training: there is no other",
                    }
                )),
            }
        }
        Ok((None, damaged))
    }

    /// Writes a checkpoint, then removes all but the newest two.
    pub(crate) fn save(
        &self,
        tensors: &[(String, Tensor)],
        state: &State,
    ) -> Result<(), NetworkError> {
        let text = serde_json::to_string(state).expect("a training's state is plain data");
        let metadata = HashMap::from([(STATE_KEY.to_owned(), text)]);
        let bytes = to_safetensors_bytes(tensors, Some(metadata))?;
        let record = self
            .folder
            .join(format!("checkpoint-{:09}.json", state.position.step));
        durable::write(&record.with_extension("safetensors"), &bytes)?;
        durable::write_json(
            &record,
            &Record {
                format: FORMAT.to_owned(),
                blake3: Digest::of(&bytes),
            },
        )?;
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

fn remove(record: &Path) -> Result<(), FileError> {
    // The record goes first: without it the tensors are no checkpoint.
    durable::remove_file(record)?;
    durable::remove_file(&record.with_extension("safetensors"))
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
    let header: Value = serde_json::from_slice(&read_header(&path)?)?;
    let text = header["__metadata__"][STATE_KEY].as_str();
    Ok(Checkpoint {
        tensors: read_safetensors(&path)?,
        state: serde_json::from_str(text.unwrap_or_default())?,
    })
}

/// The JSON at the head of a safetensors file, whose digest is right.
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
