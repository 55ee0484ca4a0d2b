//! Safetensors bytes out of tensors and back, and our own checkpoints: the weights under their published names
//! (with the prefix `model.`, so that they load into the published preconditioned network without renaming) and
//! the network's settings as JSON in the file's metadata.
//!
//! Writes no files: the caller makes the bytes durable.

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::Mmap;
use patchwork_core::{FileError, file_error};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::network::{Network, PUBLISHED_PREFIX};

/// Metadata key under which a network's settings are stored.
pub const CONFIG_KEY: &str = "patchwork.network";

/// Bytes of the number before a header that says its length; headers are padded to a multiple of it.
const LENGTH_BYTES: usize = 8;

/// Prefixes of the names in a checkpoint of a training, which holds several sets of weights of one network: those under
/// training, with what is not trained beside them, and their average.
pub const TRAINED_PREFIX: &str = "network/";
/// See [`TRAINED_PREFIX`]. Further averages have the prefixes `ema.1/`, `ema.2/` …
pub const AVERAGE_PREFIX: &str = "ema/";

/// A tensor's entry in the header.
#[derive(Serialize)]
struct Info {
    dtype: Dtype,
    shape: Vec<i64>,
    data_offsets: [usize; 2],
}

/// The bytes of a safetensors file.
///
/// # Determinism
/// Equal tensors, names and metadata give equal bytes, in whatever order they are given.
///
/// # Errors
/// [`NetworkError::ElementType`] for a type that the format does not have.
pub fn to_safetensors_bytes(
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, NetworkError> {
    let mut bytes = Vec::new();
    write_safetensors(tensors, metadata, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    Ok(bytes)
}

/// Writes the same bytes piece by piece, with no more than one tensor's in memory beside the tensors.
///
/// # Errors
/// As [`to_safetensors_bytes`], and those of `write`.
pub fn write_safetensors(
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
    mut write: impl FnMut(&[u8]) -> Result<(), NetworkError>,
) -> Result<(), NetworkError> {
    let mut entries = tensors
        .iter()
        .map(|(name, tensor)| Ok((dtype(name, tensor.kind())?, name, tensor)))
        .collect::<Result<Vec<_>, NetworkError>>()?;
    // The widest elements first, so that all lie aligned.
    entries.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(right.1)));
    write(&header(&entries, metadata))?;
    // One buffer for all: pieces of every size, each time, would leave the allocator's memory in pieces too.
    let largest = tensors.iter().map(|(_, tensor)| bytes_of(tensor)).max();
    let mut buffer = vec![0; largest.unwrap_or(0)];
    for (_, _, tensor) in entries {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let bytes = &mut buffer[..bytes_of(&tensor)];
        tensor.f_copy_data_u8(bytes, tensor.numel())?;
        write(bytes)?;
    }
    Ok(())
}

fn bytes_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

/// The header with its length before it: metadata in the order of its keys, then the tensors in that of their bytes.
fn header(entries: &[(Dtype, &String, &Tensor)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let json = |value: &str| serde_json::to_string(value).expect("a text is always JSON");
    let mut items = Vec::with_capacity(entries.len() + 1);
    if !metadata.is_empty() {
        let metadata = serde_json::to_string(metadata).expect("a map of texts is always JSON");
        items.push(format!("\"__metadata__\":{metadata}"));
    }
    let mut offset = 0;
    for (dtype, name, tensor) in entries {
        let end = offset + bytes_of(tensor);
        let info = Info {
            dtype: *dtype,
            shape: tensor.size(),
            data_offsets: [offset, end],
        };
        let info = serde_json::to_string(&info).expect("numbers are always JSON");
        items.push(format!("{}:{info}", json(name)));
        offset = end;
    }
    let mut header = format!("{{{}}}", items.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), &header].concat()
}

fn dtype(name: &str, kind: Kind) -> Result<Dtype, NetworkError> {
    Ok(match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Int64 => Dtype::I64,
        Kind::Int => Dtype::I32,
        Kind::Uint8 => Dtype::U8,
        other => return Err(NetworkError::element_type(name, other)),
    })
}

/// Reads all tensors of a safetensors file to the CPU.
///
/// # Errors
/// [`NetworkError`]: unreadable, damaged (every length is checked), or an element type besides
/// f64, f32, f16, bf16, i64, i32 and u8.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    read_safetensors_under("", path)
}

/// The same of those tensors whose names begin with a prefix; the others are not brought into memory. The file is not to
/// be written to meanwhile: for files of ours, which are replaced by others if anything.
pub fn read_safetensors_under(
    prefix: &str,
    path: &Path,
) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    parse_tensors(&map(path)?, path, |name| name.starts_with(prefix))
}

/// A file's bytes, of which none is in memory before it is read.
pub(crate) fn map(path: &Path) -> Result<Mmap, FileError> {
    let file = file_error::open(path)?;
    file_error::map(path, &file)
}

/// The tensors of a safetensors file that are wanted, by their names.
pub(crate) fn parse_tensors(
    bytes: &[u8],
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| damaged(path, source))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if !wanted(&name) {
            continue;
        }
        let kind = match view.dtype() {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::U8 => Kind::Uint8,
            other => {
                return Err(NetworkError::ElementType {
                    name,
                    kind: format!("{other:?}"),
                });
            }
        };
        let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
        let elements: usize = view.shape().iter().product();
        assert_eq!(
            view.data().len(),
            elements * kind.elt_size_in_bytes(),
            "safetensors checks lengths"
        );
        tensors.insert(name, Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(tensors)
}

/// The bytes of a network's checkpoint.
pub fn network_to_bytes(network: &Network) -> Result<Vec<u8>, NetworkError> {
    let tensors: Vec<(String, Tensor)> = published_tensors(network).collect();
    to_safetensors_bytes(&tensors, &BTreeMap::from([config_entry(network.config())]))
}

/// A network's tensors by their published names, prefix and all.
pub(crate) fn published_tensors(network: &Network) -> impl Iterator<Item = (String, Tensor)> {
    network.named_tensors().into_iter().map(|parameter| {
        (
            format!("{PUBLISHED_PREFIX}{}", parameter.name),
            parameter.tensor,
        )
    })
}

/// The metadata entry that holds a network's settings.
pub fn config_entry(config: &NetworkConfig) -> (String, String) {
    let config = serde_json::to_string(config).expect("settings are always JSON");
    (CONFIG_KEY.to_owned(), config)
}

/// Reads a checkpoint of [`network_to_bytes`] onto a device, or the averaged network of a training's checkpoint.
pub fn load_network(path: &Path, device: Device) -> Result<Network, NetworkError> {
    let bytes = file_error::read(path)?;
    let config = stored_config(&bytes, path)?.ok_or_else(|| NetworkError::Metadata {
        file: path.display().to_string(),
        key: CONFIG_KEY,
        problem: "there is none; `patchwork checkpoint import` adds them".to_owned(),
    })?;
    Network::from_tensors(&config, parse_weights(&bytes, None, path)?, device)
}

/// The tensors of one set of weights, without its prefix: `entry` names it (`network`, `ema`, `ema.1` …), none stands for
/// the average. What is missing from the set because it is not trained is that of [`TRAINED_PREFIX`]. Files that are not a
/// training's checkpoint have one set and no entries.
pub(crate) fn parse_weights(
    bytes: &[u8],
    entry: Option<&str>,
    path: &Path,
) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| damaged(path, source))?;
    let begins = |prefix: &str| file.names().iter().any(|name| name.starts_with(prefix));
    let is_of_training = begins(TRAINED_PREFIX) && begins(AVERAGE_PREFIX);
    let prefix = match entry {
        None if !is_of_training => return parse_tensors(bytes, path, |_| true),
        None => AVERAGE_PREFIX.to_owned(),
        Some(entry) => format!("{entry}/"),
    };
    if !is_of_training || !begins(&prefix) {
        return Err(NetworkError::NoEntry {
            file: path.display().to_string(),
            entry: prefix.trim_end_matches('/').to_owned(),
        });
    }
    let mut weights = BTreeMap::new();
    for prefix in [TRAINED_PREFIX, &prefix] {
        let tensors = parse_tensors(bytes, path, |name| name.starts_with(prefix))?.into_iter();
        weights.extend(tensors.map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)));
    }
    Ok(weights)
}

/// The settings of the network in a safetensors file of ours, if it has any.
pub fn read_config(path: &Path) -> Result<Option<NetworkConfig>, NetworkError> {
    stored_config(&map(path)?, path)
}

/// The settings in the metadata of a safetensors file, if it has any.
pub(crate) fn stored_config(
    bytes: &[u8],
    path: &Path,
) -> Result<Option<NetworkConfig>, NetworkError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|source| damaged(path, source))?;
    let text = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(CONFIG_KEY));
    text.map(|text| {
        serde_json::from_str(text).map_err(|cause| NetworkError::Metadata {
            file: path.display().to_string(),
            key: CONFIG_KEY,
            problem: cause.to_string(),
        })
    })
    .transpose()
}

/// A file that is not safetensors, or damaged.
pub(crate) fn damaged(path: &Path, source: safetensors::SafeTensorError) -> NetworkError {
    NetworkError::Safetensors {
        file: path.display().to_string(),
        source,
    }
}
