//! Whether the loss has left its range for good.
//!
//! Losses of single steps vary by factors, with their noise levels and their patch side. So each is taken relative to
//! the lowest running mean of its side so far, and the geometric mean of some ten steps counts: a lone spike is
//! nothing, ten steps at several times what training had reached is a divergence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The geometric mean of recent losses, relative to the lowest mean, from which on training has diverged.
pub(crate) const LIMIT: f64 = 4.0;

/// Steps of a side before its mean counts.
const SETTLED: u64 = 50;

/// Weight of the newest loss in the running mean of its side.
const MEAN_RATE: f64 = 0.02;

/// Weight of the newest step in the mean of recent ones.
const RECENT_RATE: f64 = 0.1;

/// The range that the loss has had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossRange {
    sides: BTreeMap<i64, SideRange>,
    /// Logarithm of the geometric mean of recent losses, relative to the lowest means.
    excess: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SideRange {
    steps: u64,
    mean: f64,
    lowest: Option<f64>,
}

/// A return to an earlier checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rollback {
    /// Images seen when training had diverged.
    pub(crate) from_images: u64,
    /// Images seen at the checkpoint.
    pub(crate) to_images: u64,
}

impl LossRange {
    /// Takes a step's loss, finite, of a pixel.
    pub(crate) fn add(&mut self, side: i64, loss: f64) {
        let range = self.sides.entry(side).or_insert(SideRange {
            steps: 0,
            mean: loss,
            lowest: None,
        });
        range.steps += 1;
        // At first the mean of all, so that it does not hang on the first loss.
        let rate = f64::max(MEAN_RATE, 1.0 / range.steps as f64);
        range.mean += rate * (loss - range.mean);
        if range.steps < SETTLED {
            return;
        }
        let lowest = range
            .lowest
            .map_or(range.mean, |lowest| lowest.min(range.mean));
        range.lowest = Some(lowest);
        let excess = (loss / lowest).ln();
        if excess.is_finite() {
            self.excess += RECENT_RATE * (excess - self.excess);
        }
    }

    /// The geometric mean of recent losses, relative to the lowest means.
    pub(crate) fn ratio(&self) -> f64 {
        self.excess.exp()
    }

    /// Whether training has diverged.
    pub(crate) fn is_left(&self) -> bool {
        self.ratio() > LIMIT
    }

    /// Whether training may be about to: no time for a checkpoint.
    pub(crate) fn is_nearly_left(&self) -> bool {
        self.ratio() > LIMIT.sqrt()
    }

    /// Forgets the recent losses, after they were dealt with.
    pub(crate) fn calm(&mut self) {
        self.excess = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchwork_core::Seed;

    /// Losses that fall from 1 towards 0.1 with the variation of small batches: a factor of e either way, now and then.
    fn settled(steps: u64) -> LossRange {
        let mut range = LossRange::default();
        let mut chance = Seed::new(0).stream();
        for step in 0..steps {
            let normal: f64 = (0..12).map(|_| chance.uniform()).sum::<f64>() - 6.0;
            let level = 0.1 + 0.9 * (-(step as f64) / 300.0).exp();
            range.add([8, 16, 32][step as usize % 3], level * (0.5 * normal).exp());
            assert!(!range.is_left(), "step {step}: {}", range.ratio());
        }
        range
    }

    /// How many steps of a loss it takes.
    fn steps_until_left(range: &LossRange, loss: impl Fn(u64) -> f64) -> Option<u64> {
        let mut range = range.clone();
        (0..2000).find(|&step| {
            range.add([8, 16, 32][step as usize % 3], loss(step));
            range.is_left()
        })
    }

    #[test]
    fn divergence_is_told_from_noise_and_spikes() {
        let range = settled(5000);
        // One step a thousand times too high, then as before.
        let spike = |step| if step == 0 { 100.0 } else { 0.1 };
        assert_eq!(steps_until_left(&range, spike), None);
        let sudden = steps_until_left(&range, |_| 1.0).unwrap();
        assert!(sudden < 20, "{sudden}");
        // Slow, such that a running mean alone would go along with it.
        let slow = steps_until_left(&range, |step| 0.1 * (step as f64 / 200.0).exp()).unwrap();
        assert!(slow < 600, "{slow}");
        // Twice as high is worse, not lost.
        assert_eq!(steps_until_left(&range, |_| 0.2), None);
    }

    #[test]
    fn a_range_goes_through_a_checkpoint() {
        let range = settled(400);
        let text = serde_json::to_string(&range).unwrap();
        assert_eq!(serde_json::from_str::<LossRange>(&text).unwrap(), range);
    }
}
