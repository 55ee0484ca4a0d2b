//! A data set to latents.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EncodeSettings, ImportSettings};
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::recipe::{Describe, Describing, Description};

/// The layout of the artifact: latents and, in a folder of their own, the autoencoder that decodes them.
const FORMAT_VERSION: u32 = 1;

/// The job of an encode stage.
pub type EncodeJob = TypedJob<EncodeSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The files of the autoencoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoencoder_files: Option<PathBuf>,
    /// The latents that another program made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latents: Option<PathBuf>,
}

impl Describe for EncodeSettings {
    type Resolved = Nothing;
    type Places = Places;

    fn format_version(&self) -> u32 {
        FORMAT_VERSION
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let autoencoder = outside.autoencoder(self.autoencoder.as_deref())?;
        let import = self.import.as_ref();
        let source = match import {
            Some(import) => outside.latents(&import.source)?,
            None => None,
        };
        let settings = Self {
            autoencoder: autoencoder.digest,
            import: import.map(|import| ImportSettings {
                source: String::new(),
                ..import.clone()
            }),
            ..self.clone()
        };
        let places = Places {
            autoencoder_files: autoencoder.place,
            latents: import.map(|import| PathBuf::from(&import.source)),
        };
        Ok(Description {
            source,
            ..Description::of(settings, places)
        })
    }
}
