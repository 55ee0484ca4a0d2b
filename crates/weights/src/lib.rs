//! The feature extractors by name, and the files of weights that they need: where they lie and whether they are
//! the published ones.
//!
//! Must not know tensors: a pipeline that lacks a file is refused before anything runs, by a program that does
//! not load libtorch.

mod error;
mod extractor;

pub use error::WeightsError;
pub use extractor::{ExtractorKind, WEIGHTS_VARIABLE, weights_folder};
