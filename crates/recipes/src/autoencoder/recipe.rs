//! What a stage that trains an autoencoder reads, and what must hold.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;

use super::AutoencoderSettings;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::recipe::Recipe;

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
