//! Moving averages of the weights, the ones that samples are made with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::DiffusionError;
use crate::flat::FlatLayout;

/// How quickly an average forgets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmaProfile {
    /// Exponential, with a half-life in images that grows with the images seen at first (EDM).
    HalfLife {
        /// The half-life in images.
        images: u64,
        /// Longest half-life as a share of the images seen so far; absent for none.
        rampup_ratio: Option<f64>,
    },
    /// A power of the images seen, `beta = (1 - step / seen)^(exponent + 1)` (EDM2, arXiv 2312.02696, equation 127).
    Power {
        /// The power of time that weighs old weights.
        exponent: f64,
    },
}

impl EmaProfile {
    /// The power-function profile of a relative width such as 0.05 or 0.10 (EDM2, equation 126).
    pub fn power(relative_width: f64) -> Result<Self, DiffusionError> {
        // Width of the profile t^γ on [0, 1]; it falls as the exponent grows, from 0.289 at zero.
        let width =
            |exponent: f64| (exponent + 1.0).sqrt() / ((exponent + 2.0) * (exponent + 3.0).sqrt());
        if !(relative_width > 0.0 && relative_width < 0.28) {
            return Err(DiffusionError::RelativeWidth(relative_width));
        }
        let (mut low, mut high) = (0.0, 2.0 / relative_width);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if width(middle) > relative_width {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(Self::Power { exponent: low })
    }

    /// The weight of the old average in a step of `step_images` images that starts at `images_seen`.
    pub fn beta(&self, images_seen: u64, step_images: f64) -> f64 {
        let seen = images_seen as f64;
        match *self {
            Self::HalfLife {
                images,
                rampup_ratio,
            } => {
                let longest = rampup_ratio.map_or(f64::INFINITY, |ratio| seen * ratio);
                let half_life = f64::min(images as f64, longest);
                0.5_f64.powf(step_images / f64::max(half_life, 1e-8))
            }
            Self::Power { exponent } => {
                (1.0 - step_images / (seen + step_images)).powf(exponent + 1.0)
            }
        }
    }
}

/// A moving average of a network's parameters, in a flat buffer.
#[derive(Debug)]
pub struct Ema {
    profile: EmaProfile,
    layout: FlatLayout,
    values: Tensor,
}

impl Ema {
    /// Starts at the given parameters.
    ///
    /// # Shapes
    /// - `values`: the flat buffer of `layout`
    pub fn new(profile: EmaProfile, layout: &FlatLayout, values: &Tensor) -> Self {
        Self {
            profile,
            layout: layout.clone(),
            values: values.detach().copy(),
        }
    }

    /// The profile.
    pub fn profile(&self) -> EmaProfile {
        self.profile
    }

    /// The averaged parameters as one buffer.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Moves towards `values`: `ema = net + beta · (ema - net)`; returns beta.
    pub fn update(&mut self, values: &Tensor, images_seen: u64, step_images: f64) -> f64 {
        let beta = self.profile.beta(images_seen, step_images);
        tch::no_grad(|| {
            let _ = self.values.lerp_(values, 1.0 - beta);
        });
        beta
    }

    /// The averaged parameters under their names, as views; the network's buffers are not part of it.
    pub fn named_views(&self) -> BTreeMap<String, Tensor> {
        self.layout.named_views(&self.values, "")
    }

    /// Continues from averaged parameters under their names.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), DiffusionError> {
        self.layout.load(&self.values, tensors, "")
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    #[test]
    fn half_life_follows_the_ramp() {
        let profile = EmaProfile::HalfLife {
            images: 50,
            rampup_ratio: Some(0.05),
        };
        assert_eq!(profile.beta(0, 4.0), 0.0);
        assert!((profile.beta(100, 4.0) - 0.574_349_177_498_517_4).abs() < 1e-15);
        assert!((profile.beta(5000, 50.0) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn power_profiles_have_their_width() {
        for (width, exponent) in [(0.05, 16.97), (0.10, 6.94)] {
            let EmaProfile::Power { exponent: found } = EmaProfile::power(width).unwrap() else {
                panic!("a power profile")
            };
            assert!((found - exponent).abs() < 0.01, "{found}");
        }
        assert!(EmaProfile::power(0.4).is_err());
        assert_eq!(EmaProfile::power(0.1).unwrap().beta(0, 8.0), 0.0);
    }
}
