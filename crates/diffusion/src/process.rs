//! The noise processes of earlier work, in EDM's terms: shared by preconditioning, training and the general sampler.
//!
//! Source: EDM (arXiv 2206.00364), Table 1, columns "VP" and "iDDPM + DDIM"; sigma is the standard deviation of
//! the noise at time t, with the data unscaled.

/// The variance-preserving process: `σ(t) = sqrt(exp(β_d t² / 2 + β_min t) - 1)`, t in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VpProcess {
    pub(crate) beta_d: f64,
    pub(crate) beta_min: f64,
}

impl VpProcess {
    /// The process of Score-SDE and of Table 1.
    pub(crate) const PUBLISHED: Self = Self {
        beta_d: 19.9,
        beta_min: 0.1,
    };

    /// The process whose noise goes from `sigma_min` at time `epsilon` to `sigma_max` at time 1.
    pub(crate) fn between(sigma_min: f64, sigma_max: f64, epsilon: f64) -> Self {
        let low = (sigma_min * sigma_min).ln_1p();
        let high = (sigma_max * sigma_max).ln_1p();
        let beta_d = 2.0 * (low / epsilon - high) / (epsilon - 1.0);
        Self {
            beta_d,
            beta_min: high - 0.5 * beta_d,
        }
    }

    /// σ(t).
    pub(crate) fn sigma(self, t: f64) -> f64 {
        (0.5 * self.beta_d * t * t + self.beta_min * t)
            .exp_m1()
            .sqrt()
    }

    /// dσ/dt.
    pub(crate) fn derivative(self, t: f64) -> f64 {
        let sigma = self.sigma(t);
        0.5 * (self.beta_min + self.beta_d * t) * (sigma + 1.0 / sigma)
    }

    /// The time of a noise level.
    pub(crate) fn time(self, sigma: f64) -> f64 {
        let exponent = (sigma * sigma).ln_1p();
        let root = (self.beta_min * self.beta_min + 2.0 * self.beta_d * exponent).sqrt();
        (root - self.beta_min) / self.beta_d
    }
}

/// The levels u_0 … u_M of improved DDPM's cosine schedule, from large to zero:
/// `u_M = 0`, `u_{j-1} = sqrt((u_j² + 1) / max(ᾱ_{j-1} / ᾱ_j, C1) - 1)`, `ᾱ_j = sin²(π/2 · j / (M (C2 + 1)))`.
pub(crate) fn iddpm_levels(steps: usize, c_1: f64, c_2: f64) -> Vec<f64> {
    let alpha_bar = |j: usize| {
        let angle = 0.5 * std::f64::consts::PI * j as f64 / (steps as f64 * (c_2 + 1.0));
        angle.sin().powi(2)
    };
    let mut levels = vec![0.0; steps + 1];
    for j in (1..=steps).rev() {
        let ratio = f64::max(alpha_bar(j - 1) / alpha_bar(j), c_1);
        levels[j - 1] = ((levels[j] * levels[j] + 1.0) / ratio - 1.0).sqrt();
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_noise_level_are_inverse() {
        let process = VpProcess::PUBLISHED;
        for t in [1e-5, 1e-3, 0.1, 0.5, 1.0] {
            let sigma = process.sigma(t);
            assert!((process.time(sigma) - t).abs() < 1e-9 * t.max(1e-3), "{t}");
            let step = 1e-6 * t;
            let slope = (process.sigma(t + step) - process.sigma(t - step)) / (2.0 * step);
            assert!((process.derivative(t) / slope - 1.0).abs() < 1e-4, "{t}");
        }
        let between = VpProcess::between(0.01, 70.0, 1e-3);
        assert!((between.sigma(1e-3) - 0.01).abs() < 1e-9);
        assert!((between.sigma(1.0) - 70.0).abs() < 1e-6);
    }

    #[test]
    fn iddpm_levels_fall_to_zero() {
        let levels = iddpm_levels(1000, 0.001, 0.008);
        assert_eq!(levels.len(), 1001);
        assert!(levels.is_sorted_by(|larger, smaller| larger > smaller));
        assert!(levels[1000].abs() < f64::EPSILON);
        // Where the ratio of the ᾱ is above C1, (u_j² + 1) ᾱ_j is the same for all j: u² = 1/ᾱ' - 1.
        let product = |j: usize| {
            let angle = 0.5 * std::f64::consts::PI * j as f64 / 1008.0;
            (levels[j].powi(2) + 1.0) * angle.sin().powi(2)
        };
        assert!((product(500) / product(900) - 1.0).abs() < 1e-9);
    }
}
