//! A network of the user's own: a TorchScript program that gives features.

use std::path::PathBuf;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Resize;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use smart_default::SmartDefault;

pub(super) const SHIPPED: &str = "efficientnet-lite0";
pub(super) const INCEPTION: &str = "inception-v3";

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

impl TorchScriptSettings {
    pub(super) fn check(&self, name: &str, section: &Section<'_>) -> Result<(), ConfigError> {
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
