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
    /// What latents they are: encoder, range of pixels, kind of scaling; its constants may be those of other images.
    pub fn kind(&self) -> (i64, &str, &str, Option<&str>) {
        let Self {
            factor,
            pixel_range,
            scaling,
            encoder,
            ..
        } = self;
        (*factor, pixel_range, scaling, encoder.as_deref())
    }

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

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn config() -> LatentConfig {
        LatentConfig {
            factor: 8,
            pixel_range: "0..1".to_owned(),
            scaling: "per-channel".to_owned(),
            shift: vec![5.81, -2.15],
            scale: vec![0.125, 0.25],
            encoder: None,
        }
    }

    #[test]
    fn latents_go_back_to_raw_ones_channel_by_channel() {
        let scaled = Tensor::from_slice(&[0.5f32, 1.0, -0.5, 0.0]).view([1, 2, 1, 2]);
        let raw = config().raw(&scaled);
        let expected = [
            0.5 / 0.125 + 5.81,
            1.0 / 0.125 + 5.81,
            -0.5 / 0.25 - 2.15,
            -2.15,
        ];
        let expected = Tensor::from_slice(&expected).to_kind(Kind::Float);
        assert!(raw.view([4]).allclose(&expected, 1e-6, 1e-6, false));
        let images = Tensor::from_slice(&[0.0f32, 0.5, 1.0]);
        let signed = config().signed(&images);
        assert!(signed.equal(&Tensor::from_slice(&[-1.0f32, 0.0, 1.0])));
        assert_eq!(signed.device(), Device::Cpu);
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert!(config().validate(2).is_ok());
        assert!(config().validate(3).is_err());
        let changes: [fn(&mut LatentConfig); 4] = [
            |config| config.scale[0] = 0.0,
            |config| config.shift[1] = f64::NAN,
            |config| config.factor = 0,
            |config| config.pixel_range = "0..255".to_owned(),
        ];
        for change in changes {
            let mut changed = config();
            change(&mut changed);
            assert!(changed.validate(2).is_err(), "{changed:?}");
        }
        // An unknown key is not passed over.
        let mut value = serde_json::to_value(config()).unwrap();
        value["flip"] = true.into();
        assert!(serde_json::from_value::<LatentConfig>(value).is_err());
    }
}
