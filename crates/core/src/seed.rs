//! Randomness as a function of (seed, purpose, position).
//!
//! Nothing in Patchwork draws from a generator that lives on between steps: whoever needs random
//! numbers derives a seed for the purpose and the position, so a restarted process draws the same.

use serde::{Deserialize, Serialize};

/// A 64-bit seed from which others are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// The root seed that a person typed.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The seed for a named purpose, such as `"patches"`.
    #[must_use]
    pub fn derive(self, purpose: &str) -> Self {
        self.keyed(purpose.as_bytes())
    }

    /// The seed for a position in a sequence, such as a training step.
    #[must_use]
    pub fn at(self, position: u64) -> Self {
        self.keyed(&position.to_le_bytes())
    }

    /// The number itself, for a library's own generator.
    pub fn value(self) -> u64 {
        self.0
    }

    /// A stream of random numbers from this seed.
    pub fn stream(self) -> RandomStream {
        RandomStream { state: self.0 }
    }

    fn keyed(self, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
        let mut value = [0; 8];
        hasher.finalize_xof().fill(&mut value);
        Self(u64::from_le_bytes(value))
    }
}

/// A short stream of random numbers (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct RandomStream {
    state: u64,
}

impl RandomStream {
    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number uniform on [0, 1), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (-53f64).exp2()
    }

    /// An integer uniform on `0..bound`, without bias (Lemire 2019).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no integer lies below 0");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seed;

    /// Recorded once: artifacts made with one release must be made again by the next.
    #[test]
    fn derived_seeds_and_draws_never_change() {
        let seed = Seed::new(7).derive("patches").at(3);
        let mut stream = seed.stream();
        let draws = [stream.next_u64(), stream.next_u64(), stream.below(10)];
        assert_eq!((seed.value(), draws), PINNED);
    }

    const PINNED: (u64, [u64; 3]) = (
        9_131_205_319_419_645_337,
        [13_859_493_864_973_804_137, 4_226_296_865_218_451_607, 2],
    );

    #[test]
    fn purposes_and_positions_do_not_collide() {
        let root = Seed::new(0);
        let mut seen = std::collections::HashSet::new();
        for purpose in ["noise", "patches", "order"] {
            for position in 0..1000 {
                assert!(seen.insert(root.derive(purpose).at(position).value()));
            }
        }
    }

    #[test]
    fn integers_are_uniform() {
        let mut stream = Seed::new(1).stream();
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[stream.below(6) as usize] += 1;
        }
        // Six standard deviations of a binomial count: sqrt(60000 * 1/6 * 5/6) = 91.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 550),
            "{counts:?}"
        );
    }
}
