//! Raw images to shards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PrepareSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::kinds::Described;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::specify::SpecifyError;

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

pub(super) fn describe(
    settings: &PrepareSettings,
    stage: &Stage,
    outside: &mut Outside<'_>,
) -> Result<Described, SpecifyError> {
    let source = outside.source(settings)?;
    let covered = PrepareSettings {
        source: String::new(),
        obtain: None,
        ..settings.clone()
    };
    let places = Places {
        source: settings.source.clone(),
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
