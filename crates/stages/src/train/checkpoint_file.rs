//! A checkpoint's file: tensors by name, and where training stood as JSON in the metadata, beside the settings of the
//! network, so that it can be read as one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use patchwork_core::digest::DigestWriter;
use patchwork_core::durable::DurableFile;
use patchwork_core::{Digest, FileError, file_error};
use patchwork_diffusion::flat::are_finite;
use patchwork_networks::checkpoint::{
    TRAINED_PREFIX, config_entry, read_config, read_safetensors_under, write_safetensors,
};
use patchwork_networks::{NetworkConfig, NetworkError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::curve::LossCurve;
use super::divergence::{LossRange, Rollback};
use super::position::Position;
use super::retention::RetainedSnapshots;

/// The metadata key of where training stood.
const STATE_KEY: &str = "patchwork.training";

/// What the names of the optimiser's tensors begin with in a checkpoint.
pub(crate) const OPTIMIZER_PREFIX: &str = "optimizer.";

/// Everything that training resumes from, but for tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) position: Position,
    pub(crate) curve: LossCurve,
    pub(crate) range: LossRange,
    pub(crate) snapshots: RetainedSnapshots,
    pub(crate) rollbacks: Vec<Rollback>,
}

impl State {
    pub(crate) fn new(duration_images: u64) -> Self {
        Self {
            position: Position::default(),
            curve: LossCurve::new(duration_images),
            range: LossRange::default(),
            snapshots: RetainedSnapshots::default(),
            rollbacks: Vec::new(),
        }
    }
}

/// A checkpoint that was found whole. Its tensors stay in the file until they are asked for.
pub(crate) struct Checkpoint {
    path: PathBuf,
    pub(crate) state: State,
}

impl Checkpoint {
    /// The checkpoint in a safetensors file of a digest.
    pub(crate) fn open(path: &Path, recorded: Digest) -> Result<Self, CheckpointError> {
        verify(path, recorded)?;
        Ok(Self {
            path: path.to_owned(),
            state: read_state(path)?,
        })
    }

    /// The settings of its network; none in checkpoints of earlier versions.
    pub(crate) fn network_config(&self) -> Result<Option<NetworkConfig>, NetworkError> {
        read_config(&self.path)
    }

    /// The tensors whose names begin with a prefix.
    pub(crate) fn tensors_under(
        &self,
        prefix: &str,
    ) -> Result<BTreeMap<String, Tensor>, NetworkError> {
        read_safetensors_under(prefix, &self.path)
    }

    /// The tensors under a prefix, without it.
    pub(crate) fn tensors(&self, prefix: &str) -> Result<BTreeMap<String, Tensor>, NetworkError> {
        let tensors = self.tensors_under(prefix)?.into_iter();
        Ok(tensors
            .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor))
            .collect())
    }
}

/// Checks the digest of a checkpoint's tensors.
pub(crate) fn verify(path: &Path, recorded: Digest) -> Result<(), CheckpointError> {
    let found = Digest::of_file(path)?;
    if found != recorded {
        return Err(CheckpointError::Digest { recorded, found });
    }
    Ok(())
}

/// Whether the file can be read and none of its numbers is NaN or infinite.
pub(crate) fn is_finite(path: &Path) -> bool {
    // In turn, so that not all of them are in memory.
    let prefixes = [TRAINED_PREFIX, "ema", OPTIMIZER_PREFIX];
    prefixes.into_iter().all(|prefix| {
        read_safetensors_under(prefix, path).is_ok_and(|tensors| {
            let numbers = tensors.values();
            are_finite(numbers.filter(|tensor| tensor.kind() == Kind::Float))
        })
    })
}

/// Writes a checkpoint's tensors with all that belongs to them; returns the digest of the file.
pub(crate) fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    config: &NetworkConfig,
    state: &State,
) -> Result<Digest, NetworkError> {
    let text = serde_json::to_string(state).expect("a training's state is plain data");
    let metadata = BTreeMap::from([config_entry(config), (STATE_KEY.to_owned(), text)]);
    write_tensors(path, tensors, &metadata)
}

/// Writes tensors with some metadata, durably; returns the digest of the file.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<Digest, NetworkError> {
    let mut file = DigestWriter::new(DurableFile::create(path)?);
    write_safetensors(tensors, metadata, |bytes| {
        let written = file.write_all(bytes);
        Ok(written.map_err(|source| FileError::new("write", path, source))?)
    })?;
    let (file, digest, _) = file.finish();
    file.commit()?;
    Ok(digest)
}

/// Where training stood, from a checkpoint's safetensors file.
pub(crate) fn read_state(path: &Path) -> Result<State, CheckpointError> {
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

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tensors(#[from] NetworkError),
    #[error("its tensors' digest is {found}, the record says {recorded}")]
    Digest { recorded: Digest, found: Digest },
    #[error("its training found it unusable and set it aside")]
    SetAside,
    #[error("its format is `{found}`, this version reads `{known}`")]
    Format { found: String, known: &'static str },
    #[error("it does not say where training stood: {0}")]
    State(#[from] serde_json::Error),
}

impl CheckpointError {
    /// Whether the file could not be read this time, which says nothing of what is in it.
    pub(crate) fn is_unread(&self) -> bool {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match self {
            Self::File(error) => {
                !matches!(error.source.kind(), NotFound | InvalidData | UnexpectedEof)
            }
            _ => false,
        }
    }
}
