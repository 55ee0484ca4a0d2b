//! What can be wrong with a file of weights.

use std::path::PathBuf;

use patchwork_core::FileError;

/// Which weights, what is wrong with them, what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The weights file of an extractor is not there.
    #[error("the weights of `{extractor}` are missing at `{}`: {remedy}", path.display())]
    Missing {
        /// The extractor's name.
        extractor: String,
        /// Where the file should be.
        path: PathBuf,
        /// What puts it there.
        remedy: String,
    },
    /// The weights file exists, with another content.
    #[error(
        "`{}` is not the file of weights that is published for `{extractor}`: its SHA-256 is {actual}, expected \
         {expected}; delete it and {remedy}",
        path.display()
    )]
    Differ {
        /// The extractor's name.
        extractor: &'static str,
        /// The file.
        path: PathBuf,
        /// The published file's SHA-256.
        expected: &'static str,
        /// The SHA-256 of the file found.
        actual: String,
        /// What puts the right one there.
        remedy: &'static str,
    },
    /// No published file has that name.
    #[error("there are no published weights `{name}`: use one of {known}")]
    UnknownFile {
        /// The name that was typed.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The file has no address of its own.
    #[error("`{name}` is not published as a file: {remedy}, or name a file with --from")]
    NoAddress {
        /// The file's name.
        name: &'static str,
        /// What puts it in place.
        remedy: &'static str,
    },
    /// What came is not the published file.
    #[error(
        "the file from `{from}` is not `{file}`: its SHA-256 is {actual}, expected {expected}; nothing was kept; \
         fetch the file from another address"
    )]
    Fetched {
        /// Where it came from.
        from: String,
        /// The published file's name.
        file: &'static str,
        /// Its SHA-256.
        expected: &'static str,
        /// The SHA-256 of what came.
        actual: String,
    },
    /// The transfer failed.
    #[error(
        "`{address}` cannot be fetched: {cause}; the part received is kept ({have} bytes): run this again to resume, \
         or download the file by other means and name it with --from"
    )]
    Transfer {
        /// The address.
        address: String,
        /// Why.
        cause: String,
        /// Bytes that have come so far.
        have: u64,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}
