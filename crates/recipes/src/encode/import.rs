//! Latents that another program made.

use patchwork_terms::Spread;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// Latents that another program made. Their files do not say what they hold, so that it has to be said here.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["source", "spread"]))]
pub struct ImportSettings {
    /// A folder of `.npy` files, or a `.safetensors` file or a folder of them.
    // Empty in the part of a job that the fingerprint covers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What the channels after the means hold.
    #[default(Spread::Std)]
    pub spread: Spread,
    /// What the stored values were multiplied by; 1 for raw ones.
    #[default = 1.0]
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub stored_factor: f64,
    /// What was subtracted before that; 0 for raw ones.
    #[schemars(range(min = -1e6, max = 1e6))]
    pub stored_shift: f64,
    /// The share of unusable images above which the stage fails.
    #[default = 0.001]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_rejected: f64,
}
