//! What can go wrong between images and a distance.

use std::path::PathBuf;

use patchwork_core::FileError;
use patchwork_weights::WeightsError;

/// An error of the metrics: which input, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The weights of an extractor are not there, or are not the published ones.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights file cannot be read as a checkpoint.
    #[error("cannot read the weights in `{}`: {cause}", path.display())]
    WeightsUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A TorchScript program cannot be loaded, or gives no features.
    #[error("`{}` is not a TorchScript program that gives features: {reason}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
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
    /// An extractor gave NaN or infinity for an image.
    #[error(
        "`{extractor}` ({view}) gives NaN or infinity for image {image} and {} more of its batch: the extractor is \
         broken, or does not suit these images",
        count - 1
    )]
    BrokenFeatures {
        /// The extractor.
        extractor: String,
        /// Its view of the image.
        view: &'static str,
        /// The first such image's number in its set.
        image: u64,
        /// How many there are in its batch.
        count: i64,
    },
    /// Images have no crop of that size.
    #[error("images of {height} × {width} pixels have no crops of 1/{divisor} of their side")]
    TooSmallToCrop {
        /// Their height.
        height: i64,
        /// Their width.
        width: i64,
        /// Side of an image over side of its crop.
        divisor: i64,
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
    /// A file of external statistics is not one.
    #[error("`{}` holds no reference statistics: {reason}", path.display())]
    Statistics {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive cannot be put together in memory.
    #[error("an `.npz` archive cannot be made: {cause}")]
    Archive {
        /// Why.
        cause: std::io::Error,
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
