//! The settings of an `encode` stage.

use patchwork_terms::PixelRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::import::ImportSettings;

/// Settings of a stage that encodes.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EncodeSettings {
    /// The autoencoder: `sd-vae-ft-ema`, `sd-vae-ft-mse`, a diffusers folder, or a file of weights; none = that of a stage
    /// of kind `autoencoder`.
    // In a job: the digest of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<String>,
    /// The range of the pixels that the autoencoder was trained on.
    pub pixel_range: PixelRange,
    /// Pixels along a side of an image for one latent: the autoencoder's own; where it is left out, 8 or that of the stage
    /// of kind `autoencoder`.
    #[default = 8]
    #[schemars(range(min = 1, max = 64))]
    pub factor: u32,
    /// Maximum number of images in one shard file; fewer of large latents.
    #[default = 4096]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub images_per_shard: u32,
    /// Latents that another program made of the same images, in place of encoding; none = images are encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportSettings>,
}
