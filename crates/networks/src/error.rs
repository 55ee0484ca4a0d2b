//! What can be wrong with a network's settings, weights or weight files.

use patchwork_core::FileError;
use tch::Kind;

use crate::pickle::PickleError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A setting that no network can have, or two that contradict each other.
    #[error("network setting `{key}`: {problem}")]
    Config {
        /// The setting, as spelt in [`crate::NetworkConfig`].
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A setting of an autoencoder that is not implemented, or that no autoencoder can have.
    #[error("autoencoder setting `{key}` = {value}: {problem}")]
    Autoencoder {
        /// The setting, as spelt in diffusers' `config.json`.
        key: String,
        /// Its value as JSON.
        value: String,
        /// What is wrong, or what is implemented.
        problem: String,
    },
    /// A file or folder without an autoencoder.
    #[error("`{path}` holds no KL autoencoder: {problem}")]
    NoAutoencoder {
        /// The file or folder.
        path: String,
        /// What was looked for.
        problem: String,
    },
    /// Images whose sides an autoencoder cannot halve often enough.
    #[error(
        "images of {height}x{width} pixels cannot be encoded: both sides must be multiples of {multiple}"
    )]
    ImageSize {
        /// In pixels.
        height: i64,
        /// In pixels.
        width: i64,
        /// What the sides must be multiples of.
        multiple: i64,
    },
    /// Weights that do not belong to this network.
    #[error(
        "the weights do not fit the network: {}",
        describe_mismatch(missing, unexpected, misshapen)
    )]
    Weights {
        /// Names that the network has and the weights do not.
        missing: Vec<String>,
        /// Names that the weights have and the network does not.
        unexpected: Vec<String>,
        /// Name, the network's shape, the weights' shape.
        misshapen: Vec<(String, Vec<i64>, Vec<i64>)>,
    },
    /// A stored resampling filter that is not the one of the configuration.
    #[error(
        "`{name}` holds another filter than the setting `resample_filter`; set that to the filter of these weights"
    )]
    ResampleFilter {
        /// The buffer's name.
        name: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not safetensors, or is damaged.
    #[error("`{file}` is not a valid safetensors file: {source}")]
    Safetensors {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// An element type that is not supported.
    #[error(
        "tensor `{name}` has elements of type {kind}; f64, f32, f16, bf16, i64, i32 and u8 are supported"
    )]
    ElementType {
        /// The tensor.
        name: String,
        /// Its type.
        kind: String,
    },
    /// A safetensors file that carries no (valid) network configuration.
    #[error(
        "`{file}` carries no usable network configuration under the metadata key `{key}`: {problem}"
    )]
    Metadata {
        /// The file.
        file: String,
        /// The metadata key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A checkpoint of another program that cannot be read.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A file of no known format.
    #[error(
        "`{file}` is not a checkpoint of a known format: safetensors, a pickle of EDM or Patch Diffusion, or a file of torch.save"
    )]
    UnknownFormat {
        /// The file.
        file: String,
    },
    /// Weights alone, where a whole network is needed.
    #[error("`{file}` holds weights without the settings of their network")]
    SettingsMissing {
        /// The file.
        file: String,
    },
    /// Settings were given for a file that has its own.
    #[error("`{file}` holds the settings of its network already; it takes no others")]
    SettingsTwice {
        /// The file.
        file: String,
    },
    /// A file that should hold a network's settings.
    #[error("`{file}` does not hold a network's settings as JSON: {problem}")]
    Settings {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A checkpoint whose weights are not the network that its settings say, with the file.
    #[error("`{file}`: {cause}")]
    Network {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        cause: Box<NetworkError>,
    },
    /// An entry of a safetensors file that has none, or not this one.
    #[error("`{file}` is a safetensors file without an entry `{entry}`")]
    NoEntry {
        /// The file.
        file: String,
        /// The entry that was asked for.
        entry: String,
    },
    /// Weights too large for an element type.
    #[error("tensor `{name}` has values that {element_type} cannot hold")]
    Overflow {
        /// The tensor.
        name: String,
        /// The element type.
        element_type: &'static str,
    },
    /// Libtorch refused.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl NetworkError {
    pub(crate) fn element_type(name: &str, kind: Kind) -> Self {
        Self::ElementType {
            name: name.to_owned(),
            kind: format!("{kind:?}"),
        }
    }
}

/// Lists at most this many names of each sort, so that a file of something else gives a readable message.
const LISTED: usize = 8;

fn describe_mismatch(
    missing: &[String],
    unexpected: &[String],
    misshapen: &[(String, Vec<i64>, Vec<i64>)],
) -> String {
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!(
            "missing {}",
            listed(missing.iter().map(|name| format!("`{name}`")))
        ));
    }
    if !unexpected.is_empty() {
        parts.push(format!(
            "unexpected {}",
            listed(unexpected.iter().map(|name| format!("`{name}`")))
        ));
    }
    if !misshapen.is_empty() {
        let described = misshapen
            .iter()
            .map(|(name, ours, theirs)| format!("`{name}` is {theirs:?} instead of {ours:?}"));
        parts.push(format!("of another shape: {}", listed(described)));
    }
    parts.join("; ")
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let total = names.len();
    let text = names.take(LISTED).collect::<Vec<_>>().join(", ");
    if total > LISTED {
        format!("{text} and {} more", total - LISTED)
    } else {
        text
    }
}
