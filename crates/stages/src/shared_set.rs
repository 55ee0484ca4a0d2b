//! A set of images or latents of which each rank writes some shards; all are full but the last.

use std::ops::Range;
use std::path::Path;

use patchwork_core::Membership;
use patchwork_dataset::shards::SetSpec;
use patchwork_dataset::{DatasetError, Row, ShardSetWriter};

/// The set while it is written.
pub(crate) struct SharedSet<S: SetSpec> {
    writer: ShardSetWriter<S>,
    shards: usize,
    per_shard: usize,
    total: usize,
}

impl<S: SetSpec> SharedSet<S> {
    /// A set of `total` rows in a folder, which rank 0 opens, and clears up, before the others look into it.
    pub(crate) fn open(
        folder: &Path,
        spec: S,
        total: usize,
        is_first: bool,
    ) -> Result<Self, DatasetError> {
        let per_shard = spec.images_per_shard();
        let writer = if is_first {
            ShardSetWriter::open(folder, spec)?
        } else {
            ShardSetWriter::beside(folder, spec)?
        };
        Ok(Self {
            writer,
            shards: total.div_ceil(per_shard),
            per_shard,
            total,
        })
    }

    /// The shards that are not there yet.
    pub(crate) fn missing(&self) -> Missing {
        // The writer has opened those before these already.
        let shards: Vec<usize> = (self.writer.complete_shards()..self.shards)
            .filter(|&shard| !self.writer.has_full(shard))
            .collect();
        let missing: usize = shards.iter().map(|&shard| self.rows(shard).len()).sum();
        Missing {
            shards,
            present: self.total - missing,
        }
    }

    /// The numbers of a shard's rows.
    pub(crate) fn rows(&self, shard: usize) -> Range<usize> {
        let place = |shard: usize| usize::min(shard * self.per_shard, self.total);
        place(shard)..place(shard + 1)
    }

    /// Writes a shard.
    pub(crate) fn write(&self, shard: usize, rows: Vec<Row>) -> Result<(), DatasetError> {
        self.writer.write_full(shard, rows)
    }

    /// Whether all shards are there, whoever has written them.
    pub(crate) fn is_complete(&mut self) -> bool {
        self.writer.take_over();
        self.writer.complete_shards() == self.shards
    }

    /// Checks every row and writes the index, once the set is complete.
    pub(crate) fn finish(self) -> Result<(), DatasetError> {
        self.writer.finish()
    }
}

/// What is left to do of a set.
pub(crate) struct Missing {
    shards: Vec<usize>,
    /// How many rows are there.
    pub(crate) present: usize,
}

impl Missing {
    /// The shards of them that a rank writes.
    pub(crate) fn of(&self, membership: Membership) -> Vec<usize> {
        let shards = self.shards.iter().copied();
        shards.filter(|&shard| membership.has(shard)).collect()
    }
}
