//! The order in which training sees the images: a seeded permutation computed by position.
//!
//! No list lies in memory and the state is one number. A process that is one of several `ranks` takes a stretch of each
//! batch's positions: together they see each image once an epoch, without overlap, whatever their number.

use patchwork_core::Seed;

/// Rounds of the Feistel network; four already make a pseudo-random permutation (Luby and Rackoff 1988),
/// eight leave no visible structure on the small domains of small data sets.
const ROUNDS: usize = 8;

/// An endless sequence of image indices in which each epoch visits each image once.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    len: u64,
    seed: Seed,
    /// Bits of each half of the network's block.
    half_bits: u32,
}

impl Order {
    /// The order over `len` images.
    ///
    /// # Panics
    /// If `len` is 0 or above 2^62.
    pub fn new(len: u64, seed: Seed) -> Self {
        assert!(
            (1..=1 << 62).contains(&len),
            "an order needs between 1 and 2^62 images, not {len}"
        );
        let bits = u64::BITS - (len - 1).leading_zeros();
        Self {
            len,
            seed: seed.derive("order"),
            half_bits: u32::max(1, bits.div_ceil(2)),
        }
    }

    /// The image at a position: a different permutation of `0..len` for each epoch, `position / len`.
    ///
    /// The network permutes the smallest block of an even number of bits that holds `len`; a value
    /// outside `0..len` is permuted again until it falls inside (cycle walking, Black and Rogaway 2002),
    /// fewer than four times on average.
    pub fn index_at(&self, position: u64) -> u64 {
        self.index_with(position, &self.epoch_keys(position / self.len))
    }

    /// Each position with its image; an epoch's keys are derived once for positions that follow each other.
    pub fn indices(self, positions: impl Iterator<Item = u64>) -> impl Iterator<Item = (u64, u64)> {
        let mut current: Option<(u64, [u64; ROUNDS])> = None;
        positions.map(move |position| {
            let epoch = position / self.len;
            let (_, keys) = current
                .take_if(|(known, _)| *known == epoch)
                .unwrap_or_else(|| (epoch, self.epoch_keys(epoch)));
            current = Some((epoch, keys));
            (position, self.index_with(position, &keys))
        })
    }

    fn index_with(&self, position: u64, keys: &[u64; ROUNDS]) -> u64 {
        let mut value = position % self.len;
        loop {
            value = self.permute(value, keys);
            if value < self.len {
                return value;
            }
        }
    }

    fn epoch_keys(&self, epoch: u64) -> [u64; ROUNDS] {
        let mut stream = self.seed.at(epoch).stream();
        std::array::from_fn(|_| stream.next_u64())
    }

    fn permute(&self, value: u64, keys: &[u64; ROUNDS]) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(order: Order, len: u64, number: u64) -> Vec<u64> {
        (number * len..(number + 1) * len)
            .map(|position| order.index_at(position))
            .collect()
    }

    #[test]
    fn each_epoch_visits_each_image_once() {
        for len in (1..70).chain([255, 256, 257, 1000, 4096, 5003, 65_537]) {
            let order = Order::new(len, Seed::new(len));
            for number in 0..3 {
                let mut visited = epoch(order, len, number);
                visited.sort_unstable();
                assert!(
                    visited.into_iter().eq(0..len),
                    "{len} images, epoch {number}"
                );
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_ranks_do_not_overlap() {
        let order = Order::new(1000, Seed::new(1));
        let first = epoch(order, 1000, 0);
        assert_ne!(first, epoch(order, 1000, 1));
        assert_ne!(first, epoch(Order::new(1000, Seed::new(2)), 1000, 0));
        let split: std::collections::HashSet<u64> = (0..4)
            .flat_map(|rank| {
                (rank..1000)
                    .step_by(4)
                    .map(move |position| order.index_at(position))
            })
            .collect();
        assert_eq!(split.len(), 1000);
        assert!(Order::new(1 << 40, Seed::new(1)).index_at(u64::MAX) < 1 << 40);
    }

    /// A shuffle leaves one image in its place on average, and moves images a third of the length.
    #[test]
    fn the_order_looks_shuffled() {
        let (len, epochs) = (500, 200);
        let order = Order::new(len, Seed::new(3));
        let (mut in_place, mut distance) = (0, 0);
        for number in 0..epochs {
            for (at, index) in (0..).zip(epoch(order, len, number)) {
                in_place += u64::from(at == index);
                distance += index.abs_diff(at);
            }
        }
        assert!(
            (120..300).contains(&in_place),
            "{in_place} fixed points in {epochs} epochs"
        );
        let mean = distance as f64 / (len * epochs) as f64;
        assert!(
            (mean - len as f64 / 3.0).abs() < 3.0,
            "mean distance {mean}"
        );
    }
}
