//! The kind `encode`: a data set to the latents of an autoencoder.

mod import;
mod job;
mod recipe;
mod settings;

pub use import::ImportSettings;
pub use job::{EncodeJob, Places};
pub use settings::EncodeSettings;

use std::path::Path;

use patchwork_core::Digest;
use patchwork_dataset::{DatasetError, SourceCache};

/// The digest of an autoencoder's files, as a job's settings have it; read again.
///
/// # Errors
/// A file that cannot be read.
pub fn autoencoder_digest(path: &Path) -> Result<Digest, DatasetError> {
    crate::autoencoder_files::digest(path, &SourceCache::default())
}
