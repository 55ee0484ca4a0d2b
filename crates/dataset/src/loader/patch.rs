//! Where a patch lies, and how large it is.

use crate::shards::Channels;

/// Where a patch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchRequest {
    /// The image.
    pub index: usize,
    /// The patch's first line.
    pub row: usize,
    /// The patch's first column, counted in the image after mirroring.
    pub column: usize,
    /// Whether the image is mirrored left to right before the patch is cut out of it.
    pub mirrored: bool,
    /// The patch's position in the training, on which everything random of it depends.
    pub position: u64,
}

/// The size of a patch in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchSize {
    /// Lines.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PatchSize {
    /// A square patch.
    pub fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// Values in a patch of this size, over all channels.
    pub fn values(self, channels: Channels) -> usize {
        channels.count() * self.height * self.width
    }
}
