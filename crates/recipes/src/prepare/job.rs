//! Raw images to shards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PrepareSettings;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::recipe::{Describe, Describing, Description};

const FORMAT_VERSION: u32 = 1;

/// The job of a prepare stage.
pub type PrepareJob = TypedJob<PrepareSettings, Nothing, Places>;

/// Where the raw images lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The source as it was typed; its digest covers what it holds.
    pub source: String,
}

impl PrepareJob {
    /// The settings with their source.
    pub fn settings(&self) -> PrepareSettings {
        PrepareSettings {
            source: self.uncovered.places.source.clone(),
            ..self.covered.settings.clone()
        }
    }
}

impl Describe for PrepareSettings {
    type Resolved = Nothing;
    type Places = Places;

    fn format_version(&self) -> u32 {
        FORMAT_VERSION
    }

    fn describe(&self, _: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let settings = Self {
            source: String::new(),
            obtain: None,
            ..self.clone()
        };
        let places = Places {
            source: self.source.clone(),
        };
        Ok(Description {
            source: outside.source(self)?,
            ..Description::of(settings, places)
        })
    }
}
