//! A data set to latents.

use std::path::PathBuf;

use patchwork_config::schema::{Shape, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EncodeSettings, ImportSettings};
use crate::environment;
use crate::error::SpecifyError;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

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
    fn places() -> &'static Shape {
        shape::<Places>()
    }

    fn describe(
        &self,
        stage: &Stage,
        _: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let autoencoder = outside.autoencoder(self.autoencoder.as_deref())?;
        let import = self.import.as_ref();
        let source = match import {
            Some(import) => outside.latents(&import.source)?,
            None => None,
        };
        let covered = Self {
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
        let environment = environment::of_device(stage);
        let job = EncodeJob::new(stage, covered, Nothing {}, places, environment);
        Ok(Described {
            source,
            ..Described::new(job.parts(), FORMAT_VERSION)
        })
    }
}
