//! The settings of a `reference` stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Crop, Kind, Resize};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use smart_default::SmartDefault;

use super::choice::{ExtractorChoice, INCEPTION, SHIPPED, Typed, one_or_many};
use crate::graph::Needed;
use crate::lists::in_order;
use crate::recipe::Recipe;

/// Features of so many images are kept unless a pipeline says otherwise.
const KEPT_FEATURES: u32 = 10_000;

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

/// A TorchScript program that gives features.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["file", "side"]))]
pub struct TorchScriptSettings {
    /// A path, or a file's name in the folder of the weights.
    pub file: PathBuf,
    /// Side of the input in pixels.
    #[schemars(range(min = 1, max = 4096))]
    pub side: u32,
    /// Subtracted from the pixels in [0, 1], by channel.
    #[serde(deserialize_with = "triple")]
    pub mean: [f64; 3],
    /// What the difference is divided by, by channel; above 0.
    #[default([1.0; 3])]
    #[serde(deserialize_with = "triple")]
    pub std: [f64; 3],
    /// How images come to that side.
    #[default(Resize::Clean)]
    pub resize: Resize,
}

fn triple<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    let values = Vec::<f64>::deserialize(deserializer)?;
    <[f64; 3]>::try_from(values)
        .ok()
        .filter(|values| values.iter().all(|value| value.is_finite()))
        .ok_or_else(|| serde::de::Error::custom("must be three numbers, one a channel"))
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

    fn settle_extractors(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if !section.has("extractor") && self.statistics.is_some() {
            self.extractor = vec![ExtractorChoice::inception()];
        }
        let mut settled: Vec<ExtractorChoice> = Vec::new();
        for choice in std::mem::take(&mut self.extractor) {
            let choice = (choice.settled(&self.torchscript))
                .map_err(|problem| section.invalid("extractor", problem))?;
            if settled.contains(&choice) {
                return Err(section.invalid("extractor", format!("names `{choice}` twice")));
            }
            settled.push(choice);
        }
        if settled.is_empty() {
            return Err(section.invalid("extractor", "names no network"));
        }
        self.extractor = settled;
        Ok(())
    }

    fn check_together(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if let Some(unused) = (self.torchscript.keys())
            .find(|name| self.extractor.iter().all(|choice| choice.network != **name))
        {
            let problem = format!("describes `{unused}`, which `extractor` does not name");
            return Err(section.invalid("torchscript", problem));
        }
        let has_inception = (self.extractor.iter()).any(|choice| choice.network == INCEPTION);
        if self.spatial && !has_inception {
            let problem = format!("needs `{INCEPTION}` among the networks of `extractor`");
            return Err(section.invalid("spatial", problem));
        }
        if self.statistics.is_none() {
            if self.images.is_some() {
                return Err(section.invalid("images", "is only for external `statistics`"));
            }
            return Ok(());
        }
        if self.extractor.len() > 1 {
            let problem = "names several networks, but `statistics` are of one";
            return Err(section.invalid("extractor", problem));
        }
        let foreign = "is not possible with external `statistics`, which hold whole images' mean and covariance";
        if !self.crops.is_empty() {
            return Err(section.invalid("crops", foreign));
        }
        if self.spatial {
            return Err(section.invalid("spatial", foreign));
        }
        if self.keep_features > 0 {
            return Err(section.invalid("keep_features", foreign));
        }
        if self.images.is_some_and(|images| images < 2) {
            return Err(section.invalid("images", "are fewer than 2, which have no covariance"));
        }
        Ok(())
    }
}

impl Recipe for ReferenceSettings {
    fn reads(&self) -> &'static [Needed] {
        const { &[Needed::one(&[Kind::Prepare])] }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if let Some(tables) = section.table("torchscript")? {
            for (name, settings) in &self.torchscript {
                if let Some(table) = tables.table(name)? {
                    settings.check(name, &table)?;
                }
            }
        }
        self.settle_extractors(section)?;
        self.crops = in_order(&self.crops);
        if !section.has("keep_features") && self.statistics.is_none() {
            self.keep_features = KEPT_FEATURES;
        }
        self.check_together(section)
    }

    fn put_below(&mut self, folder: &Path) {
        if let Some(statistics) = &mut self.statistics {
            *statistics = folder.join(&*statistics);
        }
    }
}

impl TorchScriptSettings {
    fn check(&self, name: &str, section: &Section<'_>) -> Result<(), ConfigError> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !name.bytes().all(is_plain) || name.is_empty() {
            let problem = "may have lower-case letters, digits and hyphens in its name";
            return Err(section.invalid("file", format!("of `{name}`, which {problem}")));
        }
        if name == SHIPPED || name == INCEPTION {
            let problem = "has the name of a network that is known already";
            return Err(section.invalid("file", format!("of `{name}`, which {problem}")));
        }
        if self.std.iter().any(|value| *value <= 0.0) {
            return Err(section.invalid("std", "must be above 0: pixels are divided by it"));
        }
        Ok(())
    }
}
