//! Writing a set shard by shard, so that a killed writer loses one shard at most.

use std::path::{Path, PathBuf};

use patchwork_core::durable;

use super::file::{Record, ShardFile};
use super::index::{IndexRow, describe, write_index, write_rejected};
use super::metadata::to_key_values;
use super::record::SetSpec;
use super::spec::{
    FIRST_ID_KEY, INDEX_FILE, REJECTED_FILE, REJECTED_KEY, Rejected, Row, ShardSpec,
    shard_file_name, shard_number,
};
use super::write::write_shard_file;
use crate::error::DatasetError;

/// Writes the shards of a set in order, resuming where an earlier writer of the same set stopped.
///
/// A shard is complete or absent: it is written beside its place, synced and renamed, and its metadata
/// says which images were rejected on the way to it.
pub struct ShardSetWriter<S = ShardSpec> {
    folder: PathBuf,
    spec: S,
    shards: usize,
    images: u64,
    rejected: Vec<Rejected>,
}

impl<S: SetSpec> ShardSetWriter<S> {
    /// Opens a folder and keeps its complete shards of this very spec up to the first gap.
    ///
    /// What lies behind the gap stays until [`take_over`](Self::take_over) has been asked for it, or is written over;
    /// [`finish`](Self::finish) removes what is left.
    pub fn open(folder: &Path, spec: S) -> Result<Self, DatasetError> {
        spec.check()?;
        durable::create_dir_all(folder)?;
        durable::remove_partials(folder)?;
        let mut writer = Self {
            folder: folder.to_owned(),
            spec,
            shards: 0,
            images: 0,
            rejected: Vec::new(),
        };
        writer.take_over();
        Ok(writer)
    }

    /// Opens a folder that another process has opened for a set whose shards several processes write, each some of them, with
    /// [`write_full`](Self::write_full). Counts no shards as complete yet, and removes nothing.
    pub fn beside(folder: &Path, spec: S) -> Result<Self, DatasetError> {
        spec.check()?;
        Ok(Self {
            folder: folder.to_owned(),
            spec,
            shards: 0,
            images: 0,
            rejected: Vec::new(),
        })
    }

    /// Takes over the complete shards of this very spec that follow the last one, as after a damaged shard was written
    /// again: the next to write is the first that is missing.
    pub fn take_over(&mut self) {
        while let Some((images, rejected)) = self.complete_shard(self.shards, self.images) {
            self.shards += 1;
            self.images += images;
            self.rejected.extend(rejected);
        }
    }

    /// How many shards are complete; the next one to write has this number.
    pub fn complete_shards(&self) -> usize {
        self.shards
    }

    /// How many images the complete shards hold.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// The images that were rejected on the way to the complete shards.
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// Writes the next shard; `rejected` are the images that were left out of it.
    pub fn write_shard(
        &mut self,
        rows: Vec<Row>,
        rejected: Vec<Rejected>,
    ) -> Result<(), DatasetError> {
        self.check_rows(&rows)?;
        let images = rows.len() as u64;
        self.write(self.shards, self.images, rows, &rejected)?;
        self.shards += 1;
        self.images += images;
        self.rejected.extend(rejected);
        Ok(())
    }

    /// Writes the shard of this number in a set without rejected images, in which all shards before it are full; it counts
    /// once it is [taken over](Self::take_over).
    pub fn write_full(&self, number: usize, rows: Vec<Row>) -> Result<(), DatasetError> {
        self.check_rows(&rows)?;
        self.write(number, self.first_id(number), rows, &[])
    }

    /// Whether the shard of this number is there and a part of this set, in which all shards before it are full.
    pub fn has_full(&self, number: usize) -> bool {
        self.complete_shard(number, self.first_id(number)).is_some()
    }

    fn first_id(&self, number: usize) -> u64 {
        number as u64 * self.spec.images_per_shard() as u64
    }

    fn write(
        &self,
        number: usize,
        first_id: u64,
        rows: Vec<Row>,
        rejected: &[Rejected],
    ) -> Result<(), DatasetError> {
        let mut metadata = self.spec.to_metadata();
        let list = serde_json::to_string(rejected).expect("pairs of strings are valid JSON");
        metadata.insert(FIRST_ID_KEY.to_owned(), first_id.to_string());
        metadata.insert(REJECTED_KEY.to_owned(), list);
        let path = self.shard_path(number);
        let record = self.record();
        write_shard_file(&path, rows, first_id, record, to_key_values(metadata))?;
        ShardFile::open(&path, record)?;
        Ok(())
    }

    /// Writes the list of rejected images so far, for a set that will not be finished because of them.
    pub fn write_rejected(&self) -> Result<PathBuf, DatasetError> {
        let path = self.folder.join(REJECTED_FILE);
        write_rejected(&path, &self.spec, &self.rejected)?;
        Ok(path)
    }

    /// Checks every image of every shard against its digest, and writes the index and the list of rejected
    /// images: the set is then complete.
    ///
    /// A damaged shard is removed, so that the next attempt writes it again.
    pub fn finish(self) -> Result<(), DatasetError> {
        self.remove_from(self.shards)?;
        let mut rows: Vec<IndexRow> = Vec::with_capacity(self.images as usize);
        for number in 0..self.shards {
            let path = self.shard_path(number);
            let described = ShardFile::open(&path, self.record())
                .and_then(|shard| describe(&shard, number, &self.spec));
            if matches!(described, Err(DatasetError::Malformed { .. })) {
                durable::remove_file(&path)?;
            }
            rows.extend(described?);
        }
        self.write_rejected()?;
        write_index(&self.folder.join(INDEX_FILE), &self.spec, &rows)
    }

    /// Images and rejections of a shard, if it is there and the part of this set that begins with this image.
    fn complete_shard(&self, number: usize, first: u64) -> Option<(u64, Vec<Rejected>)> {
        // Whatever is wrong with it, the remedy is to make it again.
        let shard = ShardFile::open(&self.shard_path(number), self.record()).ok()?;
        let mut metadata = shard.metadata;
        let first_id: u64 = metadata.remove(FIRST_ID_KEY)?.parse().ok()?;
        let rejected = serde_json::from_str(&metadata.remove(REJECTED_KEY)?).ok()?;
        let dense = shard
            .ids
            .iter()
            .copied()
            .eq((first_id..).take(shard.ids.len()));
        let same = metadata == self.spec.to_metadata() && first_id == first && dense;
        same.then_some((shard.ids.len() as u64, rejected))
    }

    fn remove_from(&self, first: usize) -> Result<(), DatasetError> {
        for path in durable::list(&self.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if shard_number(&name).is_some_and(|number| number >= first) {
                durable::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn check_rows(&self, rows: &[Row]) -> Result<(), DatasetError> {
        if rows.len() > self.spec.images_per_shard() {
            return Err(DatasetError::Length {
                what: format!("shard {}", self.shards),
                actual: rows.len(),
                expected: self.spec.images_per_shard(),
            });
        }
        for row in rows {
            if row.pixels.len() != self.spec.record_bytes() {
                return Err(DatasetError::Length {
                    what: format!("the image `{}` of {}", row.key, self.spec.description()),
                    actual: row.pixels.len(),
                    expected: self.spec.record_bytes(),
                });
            }
            if row
                .label
                .is_some_and(|label| label as usize >= self.spec.class_names().len())
            {
                return Err(DatasetError::OutOfClasses {
                    key: row.key.clone(),
                    label: row.label.unwrap_or_default(),
                    classes: self.spec.class_names().len(),
                });
            }
        }
        Ok(())
    }

    fn record(&self) -> Record {
        Record::of(&self.spec)
    }

    fn shard_path(&self, number: usize) -> PathBuf {
        self.folder.join(shard_file_name(number))
    }
}
