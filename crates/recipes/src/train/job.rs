//! A data set to a network.

use std::path::{Path, PathBuf};

use patchwork_artifacts::Environment;
use patchwork_core::Digest;
use patchwork_terms::AugmentOperation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TrainSettings;
use crate::environment;
use crate::job::TypedJob;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::precision::resolved_precision;
use crate::recipe::{Describe, Describing, Description};

/// The job of a train stage. Of the files that training starts from, the settings hold the digests.
pub type TrainJob = TypedJob<TrainSettings, Resolved, Places>;

/// What is resolved from the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The root of all randomness.
    pub seed: u64,
    /// The digest of the weights of the extractor that measures snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extractor_weights: Option<Vec<Option<Digest>>>,
}

/// Where what it reads lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The folder of the extractors' weights.
    pub weights: PathBuf,
    /// The file of `init_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_file: Option<PathBuf>,
    /// The file of `resume_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_file: Option<PathBuf>,
}

impl Describe for TrainSettings {
    type Resolved = Resolved;
    type Places = Places;

    fn format_version(&self) -> u32 {
        // The labels of quarter turns and whole shifts are EDM's, and a whole shift moves rows the other way.
        let is_turned = |operation: &AugmentOperation| {
            matches!(
                operation,
                AugmentOperation::RotateInt | AugmentOperation::TranslateInt
            )
        };
        if self.augment_operations.iter().any(is_turned) {
            return 7;
        }
        // A micro-batch's images are shared out among threads, and dropout has draws of its own. A patch's corner is sampled by
        // its own position. The networks' sums are made in another order, twice so far; below float32, normalisation and the first
        // convolution keep their weights.
        6
    }

    fn describe(&self, seed: u64, outside: &mut Outside<'_>) -> Describing<Self> {
        let precision = resolved_precision(self.precision, outside.stage)?;
        let extractor_weights = match &self.snapshot_evaluation {
            Some(evaluation) => Some(outside.weights(&evaluation.reference())?),
            None => None,
        };
        let network = match &self.init_from {
            Some(path) => outside.network(Path::new(path))?,
            None => None,
        };
        let checkpoint = match &self.resume_from {
            Some(path) => outside.checkpoint(Path::new(path))?,
            None => None,
        };
        Ok(Description {
            settings: Self {
                precision,
                init_from: network.map(|digest| digest.to_string()),
                resume_from: checkpoint.map(|digest| digest.to_string()),
                ..self.clone()
            },
            resolved: Resolved {
                seed,
                extractor_weights,
            },
            places: Places {
                weights: outside.weights_folder(),
                init_file: self.init_from.as_ref().map(PathBuf::from),
                resume_file: self.resume_from.as_ref().map(PathBuf::from),
            },
            source: None,
        })
    }

    fn environment(stage: &Stage) -> Environment {
        environment::of_training(stage)
    }
}
