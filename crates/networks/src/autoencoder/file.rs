//! Autoencoders in files: diffusers folders, single files of weights, full Stable Diffusion checkpoints; and the files of
//! a diffusers folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_core::file_error;
use serde_json::Value;
use tch::{Device, Tensor};

use crate::checkpoint::{damaged, map, parse_tensors, to_safetensors_bytes};
use crate::conversion::{in_file, is_safetensors};
use crate::error::NetworkError;
use crate::pickle::{PickleError, StateDict, is_pickle};

use super::config::AutoencoderConfig;
use super::model::Autoencoder;
use super::names::{self, Names};
use super::shapes;

/// The settings' file in a diffusers folder.
const DIFFUSERS_CONFIG: &str = "config.json";
/// The weights' file in a diffusers folder.
pub const DIFFUSERS_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// The weights' files of diffusers folders, best first.
const DIFFUSERS_FILES: [&str; 4] = [
    DIFFUSERS_WEIGHTS,
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
];

/// Where an autoencoder's settings came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// This `config.json`.
    File(PathBuf),
    /// The shapes of the weights: 32 groups and Stable Diffusion's scaling factor are assumed.
    Shapes,
}

/// An autoencoder that was read from a file.
#[derive(Debug)]
pub struct AutoencoderFile {
    /// The autoencoder.
    pub autoencoder: Autoencoder,
    /// The file of its weights.
    pub weights: PathBuf,
    /// Where its settings came from.
    pub config_origin: ConfigOrigin,
}

impl AutoencoderFile {
    /// Reads an autoencoder.
    ///
    /// `path` is a diffusers folder (of the autoencoder, or of a whole pipeline with a folder `vae`), or a file of weights:
    /// safetensors or a pickle of PyTorch, under any of the known naming schemes, alone or inside of a full Stable
    /// Diffusion checkpoint. `config` names a `config.json`; without it a folder's own is used, and of a single file
    /// the shapes determine all but the groups (32) and the scaling factor (Stable Diffusion's).
    ///
    /// Of a large file no more than the autoencoder's tensors is brought into memory. The file must not be written to
    /// meanwhile.
    ///
    /// # Errors
    /// [`NetworkError`]: nothing there, unreadable, damaged; settings that are not implemented; weights that are not
    /// those of the settings.
    pub fn open(path: &Path, config: Option<&Path>, device: Device) -> Result<Self, NetworkError> {
        let (weights, own_config) = locate(path)?;
        let tensors = names::current(read(&weights)?).map_err(|cause| in_file(&weights, cause))?;
        let config_path = config.map(Path::to_owned).or(own_config);
        let (config, config_origin) = match config_path {
            Some(path) => (read_config(&path)?, ConfigOrigin::File(path)),
            None => (shapes::config(&tensors, &weights)?, ConfigOrigin::Shapes),
        };
        let autoencoder = Autoencoder::from_tensors(&config, tensors, device)
            .map_err(|cause| in_file(&weights, cause))?;
        Ok(Self {
            autoencoder,
            weights,
            config_origin,
        })
    }
}

impl Autoencoder {
    /// The files of a diffusers folder by their names, which diffusers and [`AutoencoderFile::open`] read. `config` is
    /// this one's, perhaps with another scaling.
    ///
    /// # Errors
    /// [`NetworkError::Torch`] when a tensor cannot be brought to the CPU.
    pub fn to_diffusers_files(
        &self,
        config: &AutoencoderConfig,
    ) -> Result<BTreeMap<&'static str, Vec<u8>>, NetworkError> {
        let tensors: Vec<(String, Tensor)> = self
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name, parameter.tensor))
            .collect();
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let weights = to_safetensors_bytes(&tensors, &metadata)?;
        let mut config =
            serde_json::to_string_pretty(&config.to_json()).expect("settings are always JSON");
        config.push('\n');
        Ok(BTreeMap::from([
            (DIFFUSERS_CONFIG, config.into_bytes()),
            (DIFFUSERS_WEIGHTS, weights),
        ]))
    }
}

/// The file of weights that a path means, and the settings that belong to it.
fn locate(path: &Path) -> Result<(PathBuf, Option<PathBuf>), NetworkError> {
    if !path.is_dir() {
        // A file out of a diffusers folder has its settings beside it.
        let config = path.with_file_name(DIFFUSERS_CONFIG);
        let name = path.file_name().and_then(|name| name.to_str());
        let is_diffusers = name.is_some_and(|name| DIFFUSERS_FILES.contains(&name));
        return Ok((
            path.to_owned(),
            Some(config).filter(|config| is_diffusers && config.is_file()),
        ));
    }
    for folder in [path.to_owned(), path.join("vae")] {
        let config = folder.join(DIFFUSERS_CONFIG);
        let weights = DIFFUSERS_FILES.map(|name| folder.join(name));
        if let (true, Some(weights)) = (
            config.is_file(),
            weights.into_iter().find(|file| file.is_file()),
        ) {
            return Ok((weights, Some(config)));
        }
    }
    Err(NetworkError::NoAutoencoder {
        path: path.display().to_string(),
        problem: format!(
            "neither it nor its folder `vae` has `{DIFFUSERS_CONFIG}` and one of {}",
            DIFFUSERS_FILES.map(|name| format!("`{name}`")).join(", ")
        ),
    })
}

/// The autoencoder's tensors of a file, under the file's names.
fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    let bytes = map(path)?;
    if is_safetensors(&bytes) {
        let file = safetensors::SafeTensors::deserialize(&bytes)
            .map_err(|source| damaged(path, source))?;
        let names = Names::of(file.names().into_iter().map(|name| -> &str { name }));
        return parse_tensors(&bytes, path, |name| names.current(name).is_some());
    }
    if !is_pickle(&bytes) {
        return Err(NetworkError::UnknownFormat {
            file: path.display().to_string(),
        });
    }
    let content = |problem| PickleError::Content {
        file: path.to_owned(),
        problem,
    };
    let file = StateDict::open(&bytes).map_err(content)?;
    let names = Names::of(file.names());
    Ok(file
        .read(|name| names.current(name).is_some())
        .map_err(content)?)
}

fn read_config(path: &Path) -> Result<AutoencoderConfig, NetworkError> {
    let settings: Value = serde_json::from_slice(&file_error::read(path)?).map_err(|cause| {
        NetworkError::Settings {
            file: path.display().to_string(),
            problem: cause.to_string(),
        }
    })?;
    AutoencoderConfig::from_json(&settings).map_err(|cause| in_file(path, cause))
}
