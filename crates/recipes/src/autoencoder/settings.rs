//! The settings of an `autoencoder` stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// Settings of a stage that trains an autoencoder. Defaults are a small one of factor 4, which learns on a processor.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["duration_images"]))]
pub struct AutoencoderSettings {
    /// Channels of each level, from the full side down by halves, 1 to 6 levels.
    #[default(vec![16, 32, 64])]
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub block_out_channels: Vec<u32>,
    /// Residual blocks a level of the encoder; the decoder has one more.
    #[default = 1]
    #[schemars(range(min = 1, max = 8))]
    pub layers_per_block: u32,
    /// Groups of every group normalisation.
    #[default = 8]
    #[schemars(range(min = 1, max = 64))]
    pub norm_num_groups: u32,
    /// Channels of the latents.
    #[default = 4]
    #[schemars(range(min = 1, max = 64))]
    pub latent_channels: u32,
    /// Side of the square crops in pixels: small ones, for many steps in the same time.
    #[default = 32]
    #[schemars(range(min = 1, max = 4096))]
    pub crop: u32,
    /// Crops a step.
    #[default = 8]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: u32,
    /// Length of training, in crops seen.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub duration_images: u64,
    /// AdamW's highest learning rate, which falls by half a cosine to a twentieth.
    #[default = 2e-3]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// The rate rises from 0 in a line over the first so many crops.
    #[default = 400]
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub learning_rate_rampup_images: u64,
}

impl AutoencoderSettings {
    /// Pixels along a side of an image for one latent.
    pub fn factor(&self) -> u32 {
        1 << (self.block_out_channels.len() - 1)
    }

    /// Steps of the whole training.
    pub fn steps(&self) -> u64 {
        self.duration_images.div_ceil(self.batch_size.into())
    }
}
