//! Latents as files of other programs hold them.

use std::path::PathBuf;

use crate::error::DatasetError;

/// Latents of one image as they were read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// `[channels of the file, height, width]`.
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<f32>,
}

/// Files of latents.
pub(super) trait LatentSource {
    /// How many images there are.
    fn len(&self) -> usize;

    /// The files that are read, in a fixed order.
    fn files(&self) -> Vec<PathBuf>;

    /// An image's name.
    fn key(&self, image: usize) -> String;

    /// An image's class.
    fn label(&self, image: usize) -> Option<u32>;

    /// An image's values, or why it is left out.
    fn read(&self, image: usize) -> Result<Result<Stored, String>, DatasetError>;
}
