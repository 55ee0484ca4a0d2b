//! What a stage that reconstructs can be told.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use crate::autoencoder_files;
use crate::graph::{Inputs, Needed};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::prepare::PrepareSettings;
use crate::recipe::Recipe;
use crate::specify::SpecifyError;

/// Settings of a stage that decodes encoded images and compares them with the reference.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReconstructSettings {
    /// Maximum number of images, evenly over the data set: as many as are sampled, for distances of the same bias.
    #[default = 50_000]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub images: u32,
    /// The autoencoder that decodes, where it is another than the one that encoded: that of the samples.
    // In a job: the digest of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<String>,
    /// Images, each with its reconstruction, in the picture `reconstructions.png`; 0 = no such picture.
    #[default = 32]
    #[schemars(range(max = 1000))]
    pub shown: u32,
}

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
