//! Safetensors bytes out of tensors and back, and our own checkpoints: the weights under their published names
//! (with the prefix `model.`, so that they load into the published preconditioned network without renaming) and
//! the network's settings as JSON in the file's metadata.
//!
//! Writes no files: the caller makes the bytes durable.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use patchwork_core::file_error;
use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::{Device, Kind, Tensor};

use crate::config::NetworkConfig;
use crate::error::NetworkError;
use crate::network::{Network, PUBLISHED_PREFIX};

/// Metadata key under which a network's settings are stored.
pub const CONFIG_KEY: &str = "patchwork.network";

/// A tensor's bytes on the CPU.
struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &Raw {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The bytes of a safetensors file.
///
/// # Determinism
/// Equal tensors, names and metadata give equal bytes, in whatever order they are given.
#[expect(
    clippy::implicit_hasher,
    reason = "a hasher parameter would have to be named wherever there is no metadata"
)]
pub fn to_safetensors_bytes(
    tensors: &[(String, Tensor)],
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>, NetworkError> {
    let raw = tensors
        .iter()
        .map(|(name, tensor)| raw_tensor(name, tensor))
        .collect::<Result<Vec<_>, _>>()?;
    let views = tensors.iter().map(|(name, _)| name.as_str()).zip(&raw);
    let mut bytes = safetensors::serialize(views, None).map_err(NetworkError::Serialize)?;
    if let Some(metadata) = metadata {
        insert_metadata(&mut bytes, &metadata.into_iter().collect());
    }
    Ok(bytes)
}

/// Puts metadata into the header in the order of its keys; the safetensors crate writes them in random order.
fn insert_metadata(bytes: &mut Vec<u8>, metadata: &BTreeMap<String, String>) {
    const LENGTH_BYTES: usize = 8;
    let mut length = [0; LENGTH_BYTES];
    length.copy_from_slice(&bytes[..LENGTH_BYTES]);
    let header_end = LENGTH_BYTES + u64::from_le_bytes(length) as usize;
    let tensors = bytes[LENGTH_BYTES + 1..header_end].trim_ascii_end();
    let mut header = b"{\"__metadata__\":".to_vec();
    header.extend(serde_json::to_vec(metadata).expect("a map of texts is always JSON"));
    if tensors != b"}" {
        header.push(b',');
    }
    header.extend_from_slice(tensors);
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header);
    bytes.splice(..header_end, start);
}

fn raw_tensor(name: &str, tensor: &Tensor) -> Result<Raw, NetworkError> {
    let kind = tensor.kind();
    let dtype = match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Int64 => Dtype::I64,
        Kind::Int => Dtype::I32,
        Kind::Uint8 => Dtype::U8,
        other => return Err(NetworkError::element_type(name, other)),
    };
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let elements = tensor.numel();
    let mut bytes = vec![0; elements * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, elements)?;
    Ok(Raw {
        dtype,
        shape: tensor.size().iter().map(|side| *side as usize).collect(),
        bytes,
    })
}

/// Reads all tensors of a safetensors file to the CPU.
///
/// # Errors
/// [`NetworkError`]: unreadable, damaged (every length is checked), or an element type besides
/// f64, f32, f16, bf16, i64, i32 and u8.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    parse_tensors(&file_error::read(path)?, path)
}

pub(crate) fn parse_tensors(
    bytes: &[u8],
    path: &Path,
) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| damaged(path, source))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
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
    to_safetensors_bytes(&tensors, Some(HashMap::from([config_entry(network)])))
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
pub(crate) fn config_entry(network: &Network) -> (String, String) {
    let config = serde_json::to_string(network.config()).expect("settings are always JSON");
    (CONFIG_KEY.to_owned(), config)
}

/// Reads a checkpoint of [`network_to_bytes`] onto a device.
pub fn load_network(path: &Path, device: Device) -> Result<Network, NetworkError> {
    let bytes = file_error::read(path)?;
    let config = stored_config(&bytes, path)?.ok_or_else(|| NetworkError::Metadata {
        file: path.display().to_string(),
        key: CONFIG_KEY,
        problem: "there is none; `patchwork checkpoint import` adds them".to_owned(),
    })?;
    Network::from_tensors(&config, parse_tensors(&bytes, path)?, device)
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
