//! What a stage that trains an autoencoder can be told.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use crate::graph::{Inputs, Needed};
use crate::recipe::Recipe;

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

impl Recipe for AutoencoderSettings {
    fn reads(&self) -> &'static [Needed] {
        const { &[Needed::one(&[Kind::Prepare])] }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        let levels = self.block_out_channels.len();
        if !(1..=6).contains(&levels) {
            let problem = format!("has {levels} levels; 1 to 6 are possible");
            return Err(section.invalid("block_out_channels", problem));
        }
        let groups = self.norm_num_groups;
        let mut channels = self.block_out_channels.iter();
        if let Some(channels) = channels.find(|channels| !channels.is_multiple_of(groups)) {
            let problem =
                format!("is {groups}, which does not divide the {channels} channels of a level");
            return Err(section.invalid("norm_num_groups", problem));
        }
        if !self.crop.is_multiple_of(self.factor()) {
            let problem = format!(
                "is {}, but {levels} levels need multiples of {}",
                self.crop,
                self.factor()
            );
            return Err(section.invalid("crop", problem));
        }
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        let Some(data) = inputs.data_set() else {
            return Ok(());
        };
        let (width, height) = data.image_size();
        if self.crop > u32::min(width, height) {
            let problem = format!(
                "is {}, which does not fit into images of {width} x {height} pixels",
                self.crop
            );
            return Err(section.invalid("crop", problem));
        }
        let factor = self.factor();
        if let Some(side) = [width, height]
            .iter()
            .find(|side| !side.is_multiple_of(factor))
        {
            let problem = format!(
                "has {} levels, which need sides divisible by {factor}, and the images have the side {side}",
                self.block_out_channels.len()
            );
            return Err(section.invalid("block_out_channels", problem));
        }
        Ok(())
    }
}
