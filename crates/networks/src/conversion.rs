//! Checkpoints of every known format: recognised by their content, inspected, and converted into one another.
//!
//! Whatever is converted has been checked whole: the names and shapes of its tensors are those of the network that
//! its settings describe. Writes no files: the caller makes the bytes durable.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::file_error;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{
    AVERAGE_PREFIX, TRAINED_PREFIX, config_entry, damaged, network_to_bytes, parse_weights,
    published_tensors, stored_config, to_safetensors_bytes,
};
use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::network::Network;
use crate::pickle::{ExternalCheckpoint, PickleError, is_pickle, parse_checkpoint};

/// The format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckpointFormat {
    /// Safetensors, our own or external.
    Safetensors,
    /// A pickled network with its settings, as EDM and Patch Diffusion publish them.
    EdmPickle,
    /// A dictionary of tensors, written by `torch.save`.
    StateDict,
}

impl CheckpointFormat {
    /// In words.
    fn description(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::EdmPickle => "pickled network of EDM or Patch Diffusion",
            Self::StateDict => "state dictionary of PyTorch",
        }
    }
}

/// The element type of exported weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// As trained.
    #[default]
    Float32,
    /// 5 bits of exponent, 11 of precision.
    Float16,
    /// 8 bits of exponent, 8 of precision.
    Bfloat16,
}

impl ElementType {
    fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::Float16 => Kind::Half,
            Self::Bfloat16 => Kind::BFloat16,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
        }
    }
}

/// What is in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The file's format.
    pub format: CheckpointFormat,
    /// The format in words.
    pub description: &'static str,
    /// The network's settings, where the file holds them.
    pub settings: Option<NetworkConfig>,
    /// Numbers that training changes: all elements but those of resampling filters and Fourier frequencies.
    pub parameters: u64,
    /// The tensors, by name.
    pub tensors: Vec<TensorSummary>,
}

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorSummary {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Its element type, as Python's libraries call it.
    pub dtype: String,
}

/// Reads a network's settings from a JSON file.
///
/// # Errors
/// [`NetworkError::Settings`] naming the unknown or missing key; [`NetworkError::Config`] for impossible values.
pub fn read_config(path: &Path) -> Result<NetworkConfig, NetworkError> {
    let config: NetworkConfig =
        serde_json::from_slice(&file_error::read(path)?).map_err(|cause| {
            NetworkError::Settings {
                file: path.display().to_string(),
                problem: cause.to_string(),
            }
        })?;
    config.validate().map_err(|cause| in_file(path, cause))?;
    Ok(config)
}

/// The bytes of our own checkpoint (float32, published names, settings) of the network in any checkpoint.
///
/// `config` belongs to weights without settings; `entry` names one of several things in a pickle.
///
/// # Errors
/// [`NetworkError`]: unreadable or of no known format; settings that are missing or given twice; weights that are
/// not exactly the network's.
pub fn import(
    path: &Path,
    entry: Option<&str>,
    config: Option<NetworkConfig>,
) -> Result<Vec<u8>, NetworkError> {
    network_to_bytes(&read_network(path, entry, config)?)
}

/// The bytes of a safetensors file for other programs: the published names, weights of `element_type`, and the
/// settings in the metadata, where they disturb nobody and let the file come back.
///
/// Resampling filters and Fourier frequencies stay float32: rounded frequencies would make another network.
///
/// # Errors
/// As [`import`], and [`NetworkError::Overflow`] when a weight is beyond the element type.
pub fn export(
    path: &Path,
    entry: Option<&str>,
    element_type: ElementType,
) -> Result<Vec<u8>, NetworkError> {
    let network = read_network(path, entry, None)?;
    let tensors = published_tensors(&network)
        .map(|(name, tensor)| {
            let tensor = if is_buffer(&name) {
                tensor
            } else {
                narrowed(&name, &tensor.detach(), element_type)?
            };
            Ok((name, tensor))
        })
        .collect::<Result<Vec<_>, NetworkError>>()?;
    // `format` is what PyTorch's readers of safetensors look for.
    let metadata = BTreeMap::from([
        config_entry(network.config()),
        ("format".to_owned(), "pt".to_owned()),
    ]);
    to_safetensors_bytes(&tensors, &metadata)
}

/// What is in a checkpoint, whether or not it is a whole network.
///
/// # Errors
/// [`NetworkError`]: unreadable, damaged or of no known format.
pub fn inspect(path: &Path, entry: Option<&str>) -> Result<Summary, NetworkError> {
    let bytes = file_error::read(path)?;
    let (format, settings, tensors) = if is_safetensors(&bytes) {
        let file = SafeTensors::deserialize(&bytes).map_err(|source| damaged(path, source))?;
        let prefix = entry.map_or(String::new(), |entry| format!("{entry}/"));
        if let Some(entry) = entry
            && !file.iter().any(|(name, _)| name.starts_with(&prefix))
        {
            return Err(NetworkError::NoEntry {
                file: path.display().to_string(),
                entry: entry.to_owned(),
            });
        }
        let tensors = file
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(name, view)| TensorSummary {
                name: name.to_owned(),
                shape: view.shape().iter().map(|side| *side as u64).collect(),
                dtype: dtype_name(view.dtype()),
            })
            .collect();
        let settings = stored_config(&bytes, path)?;
        (CheckpointFormat::Safetensors, settings, tensors)
    } else {
        let Stored {
            format,
            config,
            tensors,
        } = read_pickle(&bytes, path, entry)?;
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| TensorSummary {
                name: name.clone(),
                shape: tensor.size().iter().map(|side| *side as u64).collect(),
                dtype: kind_name(tensor.kind()).to_owned(),
            })
            .collect();
        (format, config, tensors)
    };
    let mut tensors: Vec<TensorSummary> = tensors;
    tensors.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    // A training's checkpoint holds each of them several times.
    let begins = |prefix: &str| tensors.iter().any(|tensor| tensor.name.starts_with(prefix));
    let is_of_training = begins(TRAINED_PREFIX) && begins(AVERAGE_PREFIX);
    let parameters = tensors
        .iter()
        .filter(|tensor| !is_buffer(&tensor.name))
        .filter(|tensor| !is_of_training || tensor.name.starts_with(TRAINED_PREFIX))
        .map(|tensor| tensor.shape.iter().product::<u64>())
        .sum();
    Ok(Summary {
        format,
        description: format.description(),
        settings,
        parameters,
        tensors,
    })
}

/// What was read from a file.
struct Stored {
    format: CheckpointFormat,
    config: Option<NetworkConfig>,
    tensors: BTreeMap<String, Tensor>,
}

fn read_network(
    path: &Path,
    entry: Option<&str>,
    config: Option<NetworkConfig>,
) -> Result<Network, NetworkError> {
    let bytes = file_error::read(path)?;
    let stored = if is_safetensors(&bytes) {
        Stored {
            format: CheckpointFormat::Safetensors,
            config: stored_config(&bytes, path)?,
            tensors: parse_weights(&bytes, entry, path)?,
        }
    } else {
        read_pickle(&bytes, path, entry)?
    };
    drop(bytes);
    let file = || path.display().to_string();
    let config = match (stored.config, config) {
        (Some(config), None) | (None, Some(config)) => config,
        (None, None) => return Err(NetworkError::SettingsMissing { file: file() }),
        (Some(_), Some(_)) => return Err(NetworkError::SettingsTwice { file: file() }),
    };
    Network::from_tensors(&config, stored.tensors, Device::Cpu)
        .map_err(|cause| in_file(path, cause))
}

fn read_pickle(bytes: &[u8], path: &Path, entry: Option<&str>) -> Result<Stored, NetworkError> {
    if !is_pickle(bytes) {
        return Err(NetworkError::UnknownFormat {
            file: path.display().to_string(),
        });
    }
    let content = parse_checkpoint(bytes, entry).map_err(|problem| PickleError::Content {
        file: path.to_owned(),
        problem,
    })?;
    Ok(match content {
        ExternalCheckpoint::Network(snapshot) => Stored {
            format: CheckpointFormat::EdmPickle,
            config: Some(snapshot.config),
            tensors: snapshot.tensors,
        },
        ExternalCheckpoint::StateDict(tensors) => Stored {
            format: CheckpointFormat::StateDict,
            config: None,
            tensors,
        },
    })
}

/// Whether the bytes begin like safetensors: the length of a header that fits the file, and an object of JSON.
/// No pickle and no zip archive does.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    u64::from_le_bytes(*length) <= rest.len() as u64 && rest.starts_with(b"{")
}

pub(crate) fn in_file(path: &Path, cause: NetworkError) -> NetworkError {
    NetworkError::Network {
        file: path.display().to_string(),
        cause: Box::new(cause),
    }
}

/// The stored tensors that training does not change.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".resample_filter") || name.ends_with("map_noise.freqs")
}

fn narrowed(
    name: &str,
    tensor: &Tensor,
    element_type: ElementType,
) -> Result<Tensor, NetworkError> {
    let all_finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
    let narrow = tensor.to_kind(element_type.kind());
    if all_finite(tensor) && !all_finite(&narrow) {
        return Err(NetworkError::Overflow {
            name: name.to_owned(),
            element_type: element_type.name(),
        });
    }
    Ok(narrow)
}

fn dtype_name(dtype: Dtype) -> String {
    let name = match dtype {
        Dtype::F64 => "float64",
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::I64 => "int64",
        Dtype::I32 => "int32",
        Dtype::I16 => "int16",
        Dtype::I8 => "int8",
        Dtype::U8 => "uint8",
        Dtype::BOOL => "bool",
        other => return format!("{other:?}").to_lowercase(),
    };
    name.to_owned()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "float64",
        Kind::Float => "float32",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Int64 => "int64",
        Kind::Int => "int32",
        Kind::Int16 => "int16",
        Kind::Int8 => "int8",
        Kind::Uint8 => "uint8",
        Kind::Bool => "bool",
        _ => "other",
    }
}
