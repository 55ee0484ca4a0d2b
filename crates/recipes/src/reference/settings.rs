//! The settings of a `reference` stage.

use std::collections::BTreeMap;
use std::path::PathBuf;

use patchwork_terms::Crop;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::choice::{ExtractorChoice, Typed, one_or_many};
use super::torchscript::TorchScriptSettings;

/// Features of so many images are kept unless a pipeline says otherwise.
pub(super) const KEPT_FEATURES: u32 = 10_000;

/// Settings of a stage that measures a data set.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReferenceSettings {
    /// The networks whose features are compared, one or a list: `efficientnet-lite0`, `inception-v3` (with
    /// `inception-v3/torch` and `inception-v3/clean` for other ways to resize), or a table of `torchscript`. With
    /// `statistics` the default is `inception-v3`.
    // Each with its resize; none twice.
    #[default(vec![ExtractorChoice::shipped()])]
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "Typed")]
    pub extractor: Vec<ExtractorChoice>,
    /// TorchScript programs that `extractor` names, each a table.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub torchscript: BTreeMap<String, TorchScriptSettings>,
    /// Images at once, and between two durable points.
    #[default = 64]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: u32,
    /// Random crops that are compared beside whole images.
    pub crops: Vec<Crop>,
    /// Whether Inception's inner map is compared too (sFID).
    pub spatial: bool,
    /// Number of images whose features themselves are kept, for the kernel distance, precision and recall; with
    /// `statistics` 0.
    // Stages that were recorded before this setting kept none.
    #[serde(default = "none_kept")]
    #[schemars(default = "most_kept", range(max = 10_000_000))]
    pub keep_features: u32,
    /// Statistics that were computed by another program: an `.npz` file with `mu` and `sigma`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<PathBuf>,
    /// How many images `statistics` are of, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
}

fn none_kept() -> u32 {
    0
}

fn most_kept() -> u32 {
    KEPT_FEATURES
}

impl ReferenceSettings {
    /// The settings that measure with one extractor, and nothing else than whole images.
    pub(crate) fn of_extractor(extractor: ExtractorChoice, batch_size: u32) -> Self {
        Self {
            extractor: vec![extractor],
            torchscript: BTreeMap::new(),
            batch_size,
            crops: Vec::new(),
            spatial: false,
            keep_features: 0,
            statistics: None,
            images: None,
        }
    }
}
