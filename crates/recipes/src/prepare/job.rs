//! Raw images to shards.

use patchwork_config::schema::{Shape, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PrepareSettings;
use crate::environment;
use crate::error::SpecifyError;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

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
    fn places() -> &'static Shape {
        shape::<Places>()
    }

    fn describe(
        &self,
        stage: &Stage,
        _: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let source = outside.source(self)?;
        let covered = Self {
            source: String::new(),
            obtain: None,
            ..self.clone()
        };
        let places = Places {
            source: self.source.clone(),
        };
        let job = PrepareJob::new(
            stage,
            covered,
            Nothing {},
            places,
            environment::of_device(stage),
        );
        Ok(Described {
            source,
            ..Described::new(job.parts(), 1)
        })
    }
}
