//! A data set to the statistics of its features.

use std::path::PathBuf;

use patchwork_config::schema::{Shape, shape};
use patchwork_core::Digest;
use patchwork_terms::Resize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ReferenceSettings;
use crate::environment;
use crate::error::SpecifyError;
use crate::job::TypedJob;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::{Describe, Described};

/// The job of a reference stage.
pub type ReferenceJob = TypedJob<ReferenceSettings, Resolved, Places>;

/// What is resolved from the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The digest of each extractor's weights; none for weights that are missing and unknown, without which no worker
    /// is started.
    pub extractor_weights: Vec<Option<Digest>>,
}

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
    /// Statistics that were computed by another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<PathBuf>,
}

impl Describe for ReferenceSettings {
    fn places() -> &'static Shape {
        shape::<Places>()
    }

    fn describe(
        &self,
        stage: &Stage,
        _: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError> {
        let resolved = Resolved {
            extractor_weights: outside.weights(self)?,
        };
        let statistics = self.statistics.as_deref();
        let source = match statistics {
            Some(statistics) => outside.statistics(statistics)?,
            None => None,
        };
        let covered = Self {
            statistics: None,
            ..self.clone()
        };
        let places = Places {
            weights: outside.weights_folder(),
            statistics: self.statistics.clone(),
        };
        let job = ReferenceJob::new(
            stage,
            covered,
            resolved,
            places,
            environment::of_device(stage),
        );
        Ok(Described {
            source,
            ..Described::new(job.parts(), format_version(self))
        })
    }
}

fn format_version(settings: &ReferenceSettings) -> u32 {
    // For `inception-v3/torch`, NVIDIA's program is given pixels that come out normalised as pytorch-fid does.
    let is_torch = (settings.extractor.iter()).any(|choice| choice.resize == Some(Resize::Torch));
    if is_torch { 3 } else { 2 }
}
