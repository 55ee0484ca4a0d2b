//! Which patch each position of a training is: image, corner and mirroring as a function of (seed, position).

use std::ops::Range;

use patchwork_core::Seed;

use super::patch::{PatchRequest, PatchSize};
use super::set::ShardSet;
use crate::latents::LatentSet;
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
    /// Corners lie on multiples of this.
    corner_step: usize,
}

impl PatchStream {
    /// The sequence over a set's images, each mirrored with the given probability.
    pub fn new(set: &ShardSet, seed: Seed, mirror_probability: f64) -> Self {
        let image = PatchSize {
            height: set.height(),
            width: set.width(),
        };
        Self::over(set.len(), image, seed, mirror_probability)
    }

    /// The sequence over a set of latents, which are never mirrored.
    pub fn of_latents(set: &LatentSet, seed: Seed) -> Self {
        let image = PatchSize {
            height: set.spec().height,
            width: set.spec().width,
        };
        Self::over(set.len(), image, seed, 0.0)
    }

    /// The sequence over so many images of one size.
    pub fn over(images: usize, image: PatchSize, seed: Seed, mirror_probability: f64) -> Self {
        Self {
            order: Order::new(images as u64, seed.derive("order")),
            corners: seed.derive("patches"),
            image,
            mirror_probability,
            corner_step: 1,
        }
    }

    /// The same with corners on multiples of `step` alone, as an autoencoder's grid of latents wants them.
    ///
    /// # Panics
    /// If `step` is 0.
    #[must_use]
    pub fn with_corner_step(self, step: usize) -> Self {
        assert!(step > 0, "corners lie on multiples of a number above 0");
        Self {
            corner_step: step,
            ..self
        }
    }

    /// The patches of a batch, the positions `all`, that fall to a share, in order of position; each
    /// corner is uniform on the integers where the patch fits.
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
        let mut corner = |room: usize| {
            let places = room / self.corner_step + 1;
            draws.below(places as u64) as usize * self.corner_step
        };
        PatchRequest {
            index,
            row: corner(self.image.height - size.height),
            column: corner(self.image.width - size.width),
            mirrored: draws.uniform() < self.mirror_probability,
            position,
        }
    }
}
