//! What a network that was trained on latents has to know to give images: it travels with the weights, so that a sampler
//! never guesses it.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::NetworkError;

/// The latents that a network was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentConfig {
    /// Pixels along a side of an image for one latent.
    pub factor: i64,
    /// The range of the pixels that the autoencoder sees and makes: `-1..1` or `0..1`.
    pub pixel_range: String,
    /// The name of the scaling: `sd`, `per-channel` or `edm2`.
    pub scaling: String,
    /// Subtracted from raw latents, by channel.
    pub shift: Vec<f64>,
    /// What the difference is multiplied by, by channel.
    pub scale: Vec<f64>,
    /// The digest of the encoder's tensors; none of latents that were made by another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
}

impl LatentConfig {
    /// Checks the settings against the network's number of channels.
    pub(crate) fn validate(&self, channels: i64) -> Result<(), NetworkError> {
        let refused = |problem: String| NetworkError::Config {
            key: "latents",
            problem,
        };
        if self.shift.len() as i64 != channels || self.scale.len() as i64 != channels {
            return Err(refused(format!(
                "`shift` and `scale` have {} and {} values for {channels} channels",
                self.shift.len(),
                self.scale.len()
            )));
        }
        let is_sound = self.shift.iter().all(|shift| shift.is_finite())
            && (self.scale.iter()).all(|scale| scale.is_finite() && *scale != 0.0);
        if !is_sound {
            return Err(refused(
                "`shift` or `scale` has an impossible value".to_owned(),
            ));
        }
        if !(1..=1 << 16).contains(&self.factor) {
            return Err(refused(format!("`factor` cannot be {}", self.factor)));
        }
        if !["-1..1", "0..1"].contains(&self.pixel_range.as_str()) {
            return Err(refused(format!(
                "`pixel_range` is `-1..1` or `0..1`, not `{}`",
                self.pixel_range
            )));
        }
        Ok(())
    }

    /// Raw latents, for a decoder, of what the network sees: `x / scale + shift`.
    ///
    /// # Shapes
    /// `[n, channels, h, w]`, f32, both ways
    pub fn raw(&self, scaled: &Tensor) -> Tensor {
        let by_channel = |values: &[f64]| {
            Tensor::from_slice(values)
                .to_kind(scaled.kind())
                .to_device(scaled.device())
                .view([1, -1, 1, 1])
        };
        scaled / by_channel(&self.scale) + by_channel(&self.shift)
    }

    /// Decoded images as those in [-1, 1], whatever range the decoder gives.
    pub fn signed(&self, images: &Tensor) -> Tensor {
        if self.pixel_range == "0..1" {
            images * 2.0 - 1.0
        } else {
            images.shallow_clone()
        }
    }
}
