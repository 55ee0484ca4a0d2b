//! What kinds of sets have in common: a fixed number of bytes an image, and what the files say of all of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::DatasetError;

/// What all files of a set have in common, for one kind of set.
pub trait SetSpec: Clone + PartialEq + Send + Sync + Sized {
    /// The format's name and version.
    const FORMAT: &'static str;
    /// The name of the column with the images' bytes.
    const COLUMN: &'static str;

    /// Bytes of an image.
    fn record_bytes(&self) -> usize;

    /// The most rows in a shard.
    fn images_per_shard(&self) -> usize;

    /// The names of the classes, by label; empty where images have none.
    fn class_names(&self) -> &[String];

    /// What an image is, for messages: `64 x 64 pixels with 3 channels`.
    fn description(&self) -> String;

    /// What the names of each channel's columns in the index end with.
    fn channel_suffixes(&self) -> Vec<String>;

    /// Mean and standard deviation of each channel of an image.
    fn moments(&self, record: &[u8]) -> Vec<Moments>;

    /// Refuses what no set can be.
    fn check(&self) -> Result<(), DatasetError>;

    /// The entries of a file's key-value metadata, sorted by key.
    fn to_metadata(&self) -> BTreeMap<String, String>;

    /// Reads the spec back from the metadata of a shard or of the index.
    fn from_metadata(path: &Path, metadata: BTreeMap<String, String>)
    -> Result<Self, DatasetError>;

    /// Further entries for the index's metadata, from the moments of all images in order.
    fn summary<'a>(
        &self,
        _moments: impl Iterator<Item = &'a [Moments]>,
    ) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Mean and standard deviation of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f32,
    /// Standard deviation.
    pub deviation: f32,
}
