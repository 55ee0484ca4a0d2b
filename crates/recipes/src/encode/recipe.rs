//! What a stage that encodes reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Kind, PixelRange};

use super::EncodeSettings;
use crate::autoencoder_files;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::recipe::Recipe;

impl Recipe for EncodeSettings {
    fn reads(&self) -> &'static [Needed] {
        const PIXELS: Needed = Needed::one(&[Kind::Prepare]);
        const AUTOENCODER: Needed =
            Needed::one(&[Kind::Autoencoder]).or("set `autoencoder`, such as to \"sd-vae-ft-ema\"");
        match (&self.import, &self.autoencoder) {
            (None, Some(_)) => const { &[PIXELS] },
            (None, None) => const { &[PIXELS, AUTOENCODER] },
            (Some(_), Some(_)) => &[],
            (Some(_), None) => const { &[AUTOENCODER] },
        }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        let is_empty = |text: &str| text.trim().is_empty();
        if self.autoencoder.as_deref().is_some_and(is_empty) {
            return Err(section.invalid("autoencoder", "must name an autoencoder"));
        }
        if let Some(import) = &self.import
            && is_empty(&import.source)
        {
            let table = section.table("import")?;
            let table = table.as_ref().unwrap_or(section);
            return Err(table.invalid("source", "must name a file or a folder"));
        }
        Ok(())
    }

    fn fit(&mut self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        let Some(autoencoder) = inputs.autoencoder() else {
            return Ok(());
        };
        let factor = autoencoder.factor();
        if section.has("factor") && self.factor != factor {
            let problem = format!(
                "is {}, and the autoencoder has {factor}; leave it out",
                self.factor
            );
            return Err(section.invalid("factor", problem));
        }
        self.factor = factor;
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        if inputs.autoencoder().is_some() && self.pixel_range != PixelRange::Signed {
            let problem = format!(
                "is `{}`, and stages of kind `autoencoder` train on pixels in {}",
                self.pixel_range,
                PixelRange::Signed
            );
            return Err(section.invalid("pixel_range", problem));
        }
        let Some(data) = inputs.data_set() else {
            return Ok(());
        };
        let (width, height) = data.image_size();
        if let Some(side) = [width, height]
            .iter()
            .find(|side| !side.is_multiple_of(self.factor))
        {
            let problem = format!(
                "is {}, which does not divide the side {side} of the images: the autoencoder would drop what is left over",
                self.factor
            );
            return Err(section.invalid("factor", problem));
        }
        Ok(())
    }

    fn put_below(&mut self, folder: &Path) {
        if let Some(named) = &mut self.autoencoder {
            *named = autoencoder_files::below(folder, named);
        }
        if let Some(import) = &mut self.import {
            import.source = folder.join(&import.source).to_string_lossy().into_owned();
        }
    }
}
