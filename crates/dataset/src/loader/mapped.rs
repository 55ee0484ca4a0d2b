//! The files of a set, mapped for reading from any thread.

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::Mmap;
use patchwork_core::file_error;

use crate::error::DatasetError;
use crate::shards::{INDEX_FILE, SetSpec, read_index, shard_file_name};

/// A set's mapped shards, and where in them each image lies.
pub(crate) struct Mapped<S> {
    pub(crate) spec: S,
    /// The entries of the index's metadata.
    pub(crate) metadata: BTreeMap<String, String>,
    shards: Vec<Mmap>,
    pub(crate) labels: Vec<Option<u32>>,
    /// Shard and offset of each image.
    places: Vec<(u32, u64)>,
}

impl<S: SetSpec> Mapped<S> {
    /// Opens a folder of shards by its index, and checks that every image lies within its shard.
    pub(crate) fn open(folder: &Path) -> Result<Self, DatasetError> {
        let index_path = folder.join(INDEX_FILE);
        let index = read_index::<S>(&index_path)?;
        let count = index
            .places
            .iter()
            .map(|(shard, _)| *shard as usize + 1)
            .max()
            .unwrap_or(0);
        let shards = (0..count)
            .map(|number| {
                let path = folder.join(shard_file_name(number));
                Ok(file_error::map(&path, &file_error::open(&path)?)?)
            })
            .collect::<Result<Vec<Mmap>, DatasetError>>()?;
        let image_bytes = index.spec.record_bytes() as u64;
        for (row, (shard, offset)) in index.places.iter().enumerate() {
            let length = shards[*shard as usize].len() as u64;
            if offset
                .checked_add(image_bytes)
                .is_none_or(|end| end > length)
            {
                let problem = format!(
                    "it is too short for image {row} at byte {offset}, which the index names"
                );
                let path = folder.join(shard_file_name(*shard as usize));
                return Err(DatasetError::malformed(&path, problem));
            }
        }
        Ok(Self {
            spec: index.spec,
            metadata: index.metadata,
            shards,
            labels: index.labels,
            places: index.places,
        })
    }

    /// How many images there are; at least one.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The shard that holds an image, and its row there.
    pub(crate) fn place(&self, index: usize) -> (usize, usize) {
        let shard = self.places[index].0;
        let first = self.places.partition_point(|(other, _)| *other < shard);
        (shard as usize, index.saturating_sub(first))
    }

    /// An image's bytes, as they lie in the file.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub(crate) fn record(&self, index: usize) -> &[u8] {
        let (shard, offset) = self.places[index];
        &self.shards[shard as usize][offset as usize..][..self.spec.record_bytes()]
    }

    /// How many images there are of each class.
    pub(crate) fn label_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.spec.class_names().len()];
        for label in self.labels.iter().flatten() {
            counts[*label as usize] += 1;
        }
        counts
    }
}
