//! The feature extractors by name, and the files of weights that they and autoencoders need: where they lie, whether they are the
//! published ones, and how they are fetched.
//!
//! - [`ExtractorSpec`] says which network with which resize, and what its metrics are called.
//! - [`WeightsFile`] is a published file; [`fetch()`] puts one in place.
//!
//! Must not know tensors: a pipeline with a missing file is refused before anything runs, by a program that does
//! not load libtorch.

mod error;
mod extractor;
mod fetch;
mod file;

pub use error::WeightsError;
pub use extractor::{
    ExtractorSpec, Network, Quantity, Resize, TorchScript, WEIGHTS_VARIABLE, weights_folder,
};
pub use fetch::{Fetched, Progress, fetch};
pub use file::{
    EFFICIENTNET_LITE0, FoundWeights, INCEPTION_V3, INCEPTION_V3_TORCHSCRIPT, SD_VAE_FT_EMA,
    SD_VAE_FT_MSE, WeightsFile,
};
