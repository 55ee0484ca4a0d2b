//! The durable points of training.
//!
//! A checkpoint is a safetensors file with weights, averages and moments, and a JSON file of the same name,
//! written after it, with the position and the digest of the tensors. The newest two are kept: should the last
//! be damaged, training goes on from the one before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_core::{Digest, FileError, durable, file_error};
use patchwork_networks::NetworkError;
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::curve::LossCurve;

const KEPT: usize = 2;
const FORMAT: &str = "patchwork.checkpoint/1";

/// Where training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Steps done.
    pub(crate) step: u64,
    /// The training clock.
    pub(crate) images_seen: u64,
    /// Images taken from the data set so far: the position in its endless shuffled order.
    pub(crate) images_drawn: u64,
    /// Snapshots kept so far.
    pub(crate) snapshots: usize,
}

/// A checkpoint that was read and found whole.
pub(crate) struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) position: Position,
    pub(crate) curve: LossCurve,
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
    position: Position,
    blake3: Digest,
    curve: LossCurve,
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
        for record in self.records()?.into_iter().rev() {
            match read(&record) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(format!(
                    "checkpoint `{}` cannot be used ({error}); going back to the one before it",
                    record.display()
                )),
            }
        }
        Ok((None, damaged))
    }

    /// Writes a checkpoint, then removes all but the newest two.
    pub(crate) fn save(
        &self,
        tensors: &[(String, Tensor)],
        position: &Position,
        curve: &LossCurve,
    ) -> Result<(), NetworkError> {
        let bytes = to_safetensors_bytes(tensors, None)?;
        let record = self
            .folder
            .join(format!("checkpoint-{:09}.json", position.step));
        durable::write(&record.with_extension("safetensors"), &bytes)?;
        durable::write_json(
            &record,
            &Record {
                format: FORMAT.to_owned(),
                position: *position,
                blake3: Digest::of(&bytes),
                curve: curve.clone(),
            },
        )?;
        let records = self.records()?;
        for old in &records[..records.len().saturating_sub(KEPT)] {
            // The record goes first: without it the tensors are no checkpoint.
            durable::remove_file(old)?;
            durable::remove_file(&old.with_extension("safetensors"))?;
        }
        Ok(())
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
        position: record.position,
        curve: record.curve,
    })
}
