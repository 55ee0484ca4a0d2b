//! What the shards of a source depend on, beside the source.

use crate::shards::Channels;
use crate::transform::{Size, Transform};

/// What the shards of a source depend on, beside the source.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareSettings {
    /// Width and height that images are brought to.
    pub size: Size,
    /// How they are.
    pub transform: Transform,
    /// What becomes of their colours.
    pub channels: Channels,
    /// Whether images are turned as their EXIF data says.
    pub exif_orientation: bool,
    /// The ground under transparent pixels: red, green, blue.
    pub background: [u8; 3],
    /// The most images in a shard.
    pub images_per_shard: usize,
    /// The largest fraction of the source that may be rejected.
    pub max_rejected: f64,
    /// Whether each image is followed by its mirror image.
    pub mirror: bool,
    /// How many bits of 16-bit samples are used, from the lowest, in 8..=16.
    pub depth: u32,
}
