//! What can be wrong with a file of weights.

use std::path::PathBuf;

use patchwork_core::{Digest, FileError};

/// Which weights, what is wrong with them, what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The weights file of an extractor is not there.
    #[error("the weights of `{extractor}` are missing at `{}`: {remedy}", path.display())]
    Missing {
        /// The extractor's name.
        extractor: &'static str,
        /// Where the file should be.
        path: PathBuf,
        /// What puts it there.
        remedy: &'static str,
    },
    /// The weights file is there, with another content.
    #[error(
        "`{}` is not the weights file of `{extractor}`: its BLAKE3 digest is {actual}, expected {expected}; \
         delete it and run `./justw setup`",
        path.display()
    )]
    Differ {
        /// The extractor's name.
        extractor: &'static str,
        /// The file.
        path: PathBuf,
        /// The pinned digest.
        expected: Digest,
        /// The digest of the file found.
        actual: Digest,
    },
    /// An extractor has that name, but this release cannot run it.
    #[error(
        "the extractor `{extractor}` is not available in this release: use `efficientnet-lite0`"
    )]
    Unavailable {
        /// The extractor's name.
        extractor: &'static str,
    },
    /// No extractor has that name.
    #[error("there is no extractor `{name}`: use one of {known}")]
    UnknownExtractor {
        /// The name that was typed.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}
