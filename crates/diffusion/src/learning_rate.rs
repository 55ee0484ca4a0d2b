//! The learning rate as a function of the images seen.

use serde::{Deserialize, Serialize};

/// A decay to zero in a straight line over the last images of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decay {
    /// Images over which the rate goes to zero, counted back from the end.
    pub decay_images: u64,
    /// Images of the whole run.
    pub duration_images: u64,
}

/// A linear ramp from zero, a constant, and an optional decay (the paper's runs have none).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The rate after the ramp.
    pub rate: f64,
    /// Images over which the rate rises from zero; 10 million in the paper's runs.
    pub rampup_images: u64,
    /// The way down at the end.
    pub decay: Option<Decay>,
}

impl LearningRate {
    /// The rate of the step that starts when `images_seen` images have been seen.
    ///
    /// The very first step of a fresh run has rate zero, with or without a ramp, as in the published training.
    pub fn at(&self, images_seen: u64) -> f64 {
        let seen = images_seen as f64;
        let ramp = f64::min(seen / f64::max(self.rampup_images as f64, 1e-8), 1.0);
        self.rate * ramp * self.decay.map_or(1.0, |decay| decay.factor(seen))
    }
}

impl Decay {
    fn factor(&self, seen: f64) -> f64 {
        let left = self.duration_images as f64 - seen;
        (left / f64::max(self.decay_images as f64, 1e-8)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramp_constant_and_decay() {
        let mut schedule = LearningRate {
            rate: 1e-3,
            rampup_images: 200,
            decay: None,
        };
        let check = |schedule: &LearningRate, seen, expected: f64| {
            assert!((schedule.at(seen) - expected).abs() < 1e-15, "{seen}");
        };
        check(&schedule, 0, 0.0);
        check(&schedule, 100, 0.0005);
        check(&schedule, 104, 0.000_52);
        check(&schedule, 900, 1e-3);
        schedule.decay = Some(Decay {
            decay_images: 100,
            duration_images: 1000,
        });
        check(&schedule, 900, 1e-3);
        check(&schedule, 950, 5e-4);
        check(&schedule, 1000, 0.0);
        check(&schedule, 1010, 0.0);
    }
}
