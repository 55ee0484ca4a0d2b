//! What can go wrong between images and a distance.

use std::path::PathBuf;

use patchwork_core::{Digest, FileError};

/// An error of the metrics: which input, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The weights file of an extractor is not there.
    #[error("the weights of `{extractor}` are missing at `{}`: {remedy}", path.display())]
    WeightsMissing {
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
    WeightsDiffer {
        /// The extractor's name.
        extractor: &'static str,
        /// The file.
        path: PathBuf,
        /// The pinned digest.
        expected: Digest,
        /// The digest of the file found.
        actual: Digest,
    },
    /// The weights file cannot be read as a checkpoint.
    #[error("cannot read the weights in `{}`: {cause}", path.display())]
    WeightsUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A parameter is absent from a checkpoint.
    #[error(
        "the checkpoint has no parameter `{name}` (of shape {shape:?}): it is of another architecture"
    )]
    ParameterMissing {
        /// The parameter's name.
        name: String,
        /// Its shape.
        shape: Vec<i64>,
    },
    /// A parameter has another shape than the architecture's.
    #[error(
        "parameter `{name}` has shape {actual:?}, expected {expected:?}: it is of another architecture"
    )]
    ParameterShape {
        /// The parameter's name.
        name: String,
        /// The architecture's shape.
        expected: Vec<i64>,
        /// The checkpoint's shape.
        actual: Vec<i64>,
    },
    /// An extractor has that name, but this release cannot run it.
    #[error(
        "the extractor `{extractor}` is not available in this release: use `efficientnet-lite0`"
    )]
    ExtractorUnavailable {
        /// The extractor's name.
        extractor: &'static str,
    },
    /// No extractor has that name.
    #[error("there is no extractor `{name}`: use one of {known}")]
    ExtractorUnknown {
        /// The name that was typed.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The images given to an extractor are not a batch of colour images.
    #[error(
        "an extractor takes u8 images of shape [batch, 3, height, width], got {kind} of shape {shape:?}"
    )]
    Images {
        /// The element type found.
        kind: String,
        /// The shape found.
        shape: Vec<i64>,
    },
    /// A tensor of features is not a matrix of the expected width.
    #[error("features must have shape [images, {dimension}], got {shape:?}")]
    Features {
        /// The expected width.
        dimension: i64,
        /// The shape found.
        shape: Vec<i64>,
    },
    /// NaN or infinity among the numbers.
    #[error(
        "{what} hold {count} values that are NaN or infinite: the extractor or its input is broken"
    )]
    NotFinite {
        /// Which numbers.
        what: &'static str,
        /// How many of them.
        count: i64,
    },
    /// A statistic is not defined for so few images.
    #[error("{what} needs at least {needed} images, got {actual}")]
    TooFewImages {
        /// The statistic.
        what: &'static str,
        /// The fewest that it is defined for.
        needed: i64,
        /// How many there are.
        actual: i64,
    },
    /// Two sets have features of different width.
    #[error(
        "the reference has {reference}-dimensional features and the generated images {generated}-dimensional ones: \
         they come from different extractors"
    )]
    Dimensions {
        /// Width of the reference's features.
        reference: i64,
        /// Width of the other's features.
        generated: i64,
    },
    /// A matrix given as a covariance is not one.
    #[error("the matrix given as a covariance is not one: {reason}")]
    NotCovariance {
        /// What is wrong with it.
        reason: String,
    },
    /// A saved statistic misses a tensor or has one of a wrong shape.
    #[error("the saved moments are damaged: {reason}")]
    State {
        /// What is wrong with them.
        reason: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// libtorch refused an operation.
    #[error("libtorch refused an operation: {0}")]
    Torch(#[from] tch::TchError),
}
