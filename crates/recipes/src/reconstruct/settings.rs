//! The settings of a `reconstruct` stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// Settings of a stage that decodes encoded images and compares them with the reference.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReconstructSettings {
    /// Maximum number of images, evenly over the data set: as many as are sampled, for distances of the same bias.
    #[default = 50_000]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub images: u32,
    /// The autoencoder that decodes, where it is another than the one that encoded: that of the samples.
    // In a job: the digest of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<String>,
    /// Images, each with its reconstruction, in the picture `reconstructions.png`; 0 = no such picture.
    #[default = 32]
    #[schemars(range(max = 1000))]
    pub shown: u32,
}
