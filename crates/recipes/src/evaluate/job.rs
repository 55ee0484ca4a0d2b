//! Sampled images against reference statistics.

use std::path::PathBuf;

use patchwork_config::schema::{Shape, shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EvaluateSettings;
use crate::environment;
use crate::error::SpecifyError;
use crate::job::{Nothing, TypedJob};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

/// Samples of one network are distinguished by their settings.
const FORMAT_VERSION: u32 = 3;

/// The job of an evaluate stage.
pub type EvaluateJob = TypedJob<EvaluateSettings, Nothing, Places>;

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
}

impl Describe for EvaluateSettings {
    fn places() -> &'static Shape {
        shape::<Places>()
    }

    fn describe(
        &self,
        stage: &Stage,
        _: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let places = Places {
            weights: outside.weights_folder(),
        };
        let job = EvaluateJob::new(
            stage,
            self.clone(),
            Nothing {},
            places,
            environment::of_device(stage),
        );
        Ok(Described::new(job.parts(), FORMAT_VERSION))
    }
}
