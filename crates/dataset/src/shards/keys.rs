//! The names of a set's images, read shard by shard.

use std::path::{Path, PathBuf};

use super::file::read_keys;
use super::spec::shard_file_name;
use crate::error::DatasetError;
use crate::loader::ShardSet;

/// Hands out the names of images in their source; those of one shard lie in memory.
pub struct KeyReader<'a> {
    folder: PathBuf,
    set: &'a ShardSet,
    /// A shard and its keys.
    current: Option<(usize, Vec<String>)>,
}

impl<'a> KeyReader<'a> {
    /// Reads the names of the set in a folder.
    pub fn new(folder: &Path, set: &'a ShardSet) -> Self {
        Self {
            folder: folder.to_owned(),
            set,
            current: None,
        }
    }

    /// The name of an image; cheap for ids that ascend.
    pub fn key(&mut self, image: usize) -> Result<String, DatasetError> {
        let (shard, row) = self.set.place(image);
        let path = self.folder.join(shard_file_name(shard));
        let keys = match &mut self.current {
            Some((current, keys)) if *current == shard => keys,
            current => &mut current.insert((shard, read_keys(&path)?)).1,
        };
        keys.get(row).cloned().ok_or_else(|| {
            DatasetError::malformed(&path, format!("it has no row {row}, which the index names"))
        })
    }
}
