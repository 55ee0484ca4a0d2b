//! Which patch each position of a training is: image, corner and mirroring as a function of (seed, position).

use std::ops::Range;

use patchwork_core::Seed;

use super::patch::{PatchRequest, PatchSize};
use super::set::ShardSet;
use crate::order::Order;

/// The part of a batch that one of several processes takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    rank: u64,
    ranks: u64,
}

impl Share {
    /// A process alone: it takes everything.
    pub const WHOLE: Self = Self { rank: 0, ranks: 1 };

    /// The share of the process `rank` of `ranks`: a stretch of the batch, of nearly equal length for each.
    ///
    /// # Panics
    /// If `rank` is not below `ranks`.
    pub fn new(rank: u64, ranks: u64) -> Self {
        assert!(rank < ranks, "there is no rank {rank} of {ranks}");
        Self { rank, ranks }
    }

    /// The positions of a batch, `all`, that fall to this share.
    pub fn of(self, all: Range<u64>) -> Range<u64> {
        let count = all.end.saturating_sub(all.start);
        all.start + count * self.rank / self.ranks..all.start + count * (self.rank + 1) / self.ranks
    }
}

/// An endless sequence of patches in which each epoch visits each image once.
///
/// The state is one number, the position, and a position's patch depends on nothing else: not on the batch it
/// falls into, the number of processes or threads, or what was asked for before.
#[derive(Clone, Copy, Debug)]
pub struct PatchStream {
    order: Order,
    corners: Seed,
    image: PatchSize,
    mirror_probability: f64,
}

impl PatchStream {
    /// The sequence over a set's images, each mirrored with the given probability.
    pub fn new(set: &ShardSet, seed: Seed, mirror_probability: f64) -> Self {
        Self {
            order: Order::new(set.len() as u64, seed.derive("order")),
            corners: seed.derive("patches"),
            image: PatchSize {
                height: set.height(),
                width: set.width(),
            },
            mirror_probability,
        }
    }

    /// The patch at a position, its corner uniform on the integers where it fits.
    ///
    /// # Panics
    /// If the patch is larger than the images.
    pub fn patch_at(&self, position: u64, size: PatchSize) -> PatchRequest {
        let index = self.order.index_at(position) as usize;
        self.cut(index, position, size)
    }

    /// The patches of a batch, the positions `all`, that fall to a share, in order of position.
    ///
    /// # Panics
    /// If the patches are larger than the images.
    pub fn patches(&self, all: Range<u64>, share: Share, size: PatchSize) -> Vec<PatchRequest> {
        let images = self.order.indices(share.of(all));
        images
            .map(|(position, index)| self.cut(index as usize, position, size))
            .collect()
    }

    fn cut(&self, index: usize, position: u64, size: PatchSize) -> PatchRequest {
        assert!(
            size.height <= self.image.height && size.width <= self.image.width,
            "a patch of {size:?} does not fit into {:?}",
            self.image
        );
        let mut draws = self.corners.at(position).stream();
        PatchRequest {
            index,
            row: draws.below((self.image.height - size.height + 1) as u64) as usize,
            column: draws.below((self.image.width - size.width + 1) as u64) as usize,
            mirrored: draws.uniform() < self.mirror_probability,
        }
    }
}
