//! From raw latents to the values that a diffusion model sees.

use patchwork_terms::{LatentScaling, PixelRange};
use serde::{Deserialize, Serialize};

use super::spec::{LatentSpec, LatentStatistics};
use crate::error::DatasetError;

/// Mean and standard deviation of Stable Diffusion's latents of ImageNet's images in [0, 1] (EDM2, arXiv 2312.02696).
const EDM2_MEAN: [f64; 4] = [5.81, 3.25, 0.12, -2.15];
const EDM2_DEVIATION: [f64; 4] = [4.17, 4.62, 3.71, 3.28];

/// An affine map of each channel, `(z - shift) * scale`, and its inverse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// How the constants were found.
    pub kind: LatentScaling,
    /// Subtracted from raw latents, by channel.
    pub shift: Vec<f64>,
    /// What the difference is multiplied by, by channel.
    pub scale: Vec<f64>,
}

impl Scaling {
    /// The scaling of a set; `sigma_data` is the standard deviation that the diffusion model takes its data to have.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] when EDM2's constants do not belong to the set, or a channel is constant.
    pub fn of(
        kind: LatentScaling,
        spec: &LatentSpec,
        statistics: &LatentStatistics,
        sigma_data: f64,
    ) -> Result<Self, DatasetError> {
        let refused = |problem: String| DatasetError::Setting {
            setting: "scaling",
            value: kind.name().to_owned(),
            problem,
        };
        let standardised = |mean: &[f64], deviation: &[f64]| Self {
            kind,
            shift: mean.to_vec(),
            scale: deviation
                .iter()
                .map(|deviation| sigma_data / deviation)
                .collect(),
        };
        match kind {
            LatentScaling::Sd => Ok(Self {
                kind,
                shift: vec![spec.shift_factor; spec.channels],
                scale: vec![spec.scaling_factor; spec.channels],
            }),
            LatentScaling::PerChannel => {
                let constant = statistics
                    .deviation
                    .iter()
                    .position(|deviation| *deviation <= 0.0);
                if let Some(channel) = constant {
                    return Err(refused(format!(
                        "all latents of channel {channel} are equal"
                    )));
                }
                Ok(standardised(&statistics.mean, &statistics.deviation))
            }
            LatentScaling::Edm2 if spec.pixel_range != PixelRange::Unsigned => {
                Err(refused(format!(
                    "its constants belong to images in {}, and these latents to images in {}; use `per-channel`",
                    PixelRange::Unsigned,
                    spec.pixel_range
                )))
            }
            LatentScaling::Edm2 if spec.channels != EDM2_MEAN.len() => Err(refused(format!(
                "its constants belong to {} channels, and these latents have {}; use `per-channel`",
                EDM2_MEAN.len(),
                spec.channels
            ))),
            LatentScaling::Edm2 => Ok(standardised(&EDM2_MEAN, &EDM2_DEVIATION)),
        }
    }

    /// A raw latent as the model sees it.
    pub fn forward(&self, channel: usize, raw: f64) -> f64 {
        (raw - self.shift[channel]) * self.scale[channel]
    }

    /// The raw latent of what the model sees.
    pub fn inverse(&self, channel: usize, scaled: f64) -> f64 {
        scaled / self.scale[channel] + self.shift[channel]
    }
}
