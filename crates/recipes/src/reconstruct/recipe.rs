//! What a stage that reconstructs reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;

use super::ReconstructSettings;
use crate::autoencoder_files;
use crate::error::SpecifyError;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::prepare::PrepareSettings;
use crate::recipe::Recipe;

impl Recipe for ReconstructSettings {
    fn reads(&self) -> &'static [Needed] {
        const {
            &[
                Needed::one(&[Kind::Reference]),
                Needed::one(&[Kind::Encode]),
                Needed::implied(&[Kind::Prepare]),
            ]
        }
    }

    fn settle(&mut self, _: &Section<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        let of_reference =
            (inputs.reference()).and_then(|(stage, _)| inputs.of_input(stage).data_set());
        let encoded = (inputs.encoding()).and_then(|(stage, _)| inputs.of_input(stage).data_set());
        if let (Some(reference), Some(encoded)) = (of_reference, encoded)
            && reference.image_size() != encoded.image_size()
        {
            let [(width, height), (other_width, other_height)] =
                [reference, encoded].map(PrepareSettings::image_size);
            let problem = format!(
                "lead to a reference of {width} x {height} pixels and to encoded images of {other_width} x {other_height}"
            );
            return Err(section.invalid("needs", problem));
        }
        Ok(())
    }

    fn put_below(&mut self, folder: &Path) {
        if let Some(named) = &mut self.autoencoder {
            *named = autoencoder_files::below(folder, named);
        }
    }

    /// Reconstructions are measured by the extractors of the reference.
    fn look_behind(
        &self,
        _: &Stage,
        inputs: &Inputs<'_>,
        outside: &mut Outside<'_>,
    ) -> Result<(), SpecifyError> {
        if let Some((_, reference)) = inputs.reference() {
            outside.note_missing_weights(reference);
        }
        Ok(())
    }
}
