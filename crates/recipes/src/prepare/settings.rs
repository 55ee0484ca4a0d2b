//! The settings of a `prepare` stage.

use patchwork_terms::{Channels, EmojiGroup, Format, Labels, SkinTones, Split, Transform};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::color;

/// Settings of a stage that prepares a data set.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["source", "resolution"]))]
pub struct PrepareSettings {
    /// A folder, archive or file, relative to the current folder, or `builtin:twemoji`.
    // Empty in the part of a job that the fingerprint covers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// How the source lies on disk; none = what its content looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The split of the data set to take; none = what the format's users take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Number of images to take from the source, sampled uniformly by their names; 0 = all.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(!skip_serializing_if)]
    pub sampled_images: u32,
    /// The classes to keep, by name; none = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// The attributes of CelebA that make classes, with `labels = "attributes"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Where the source can be had, for whoever does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obtain: Option<String>,
    /// Width of the images in pixels and, without `height`, their height too; a multiple of 4 wherever a network trains on
    /// them.
    #[schemars(range(min = 4, max = 4096))]
    pub resolution: u32,
    /// Height of the images in pixels; none = their width.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 4096))]
    pub height: Option<u32>,
    /// How an image comes to that size.
    pub transform: Transform,
    /// Channels of an image: 3 (red, green and blue) or 1 (grey).
    #[serde(skip_serializing_if = "Channels::is_default")]
    #[schemars(!skip_serializing_if)]
    pub channels: Channels,
    /// Colour behind transparent pixels, such as `#ffffff`.
    #[default(color::WHITE)]
    #[serde(deserialize_with = "color::read")]
    #[schemars(with = "String", extend("default" = "#ffffff", "pattern" = "^#[0-9a-fA-F]{6}$"))]
    pub background: [u8; 3],
    /// Maximum number of images in one shard file; the default is less for large images.
    #[default = 1024]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub images_per_shard: u32,
    /// Maximum number of images that are taken of the source, the first ones; none = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_images: Option<u64>,
    /// The share of unusable images above which the stage fails.
    #[default = 0.001]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_rejected: f64,
    /// Where class labels come from.
    pub labels: Labels,
    /// Whether each image is in the data set a second time, mirrored left to right.
    pub mirror: bool,
    /// Whether images are turned as their EXIF data says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub exif_orientation: bool,
    /// How many bits of 16-bit samples are used, from the lowest; none = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8, max = 16))]
    pub depth: Option<u32>,
    /// Which emoji, where the source is `builtin:twemoji`.
    // Present exactly then.
    pub emoji: Option<EmojiSettings>,
}

/// Which of the built-in emoji are used.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EmojiSettings {
    /// Unicode groups.
    // In Unicode's order.
    #[default(all_but_flags())]
    pub groups: Vec<EmojiGroup>,
    /// Whether emoji in five skin tones are images of their own.
    pub skin_tones: SkinTones,
    /// Unicode name of the first emoji, in Unicode's order; none = from the start.
    pub from: Option<String>,
    /// Unicode name of the last emoji, inclusive; none = to the end.
    pub to: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn all_but_flags() -> Vec<EmojiGroup> {
    let groups = EmojiGroup::ALL.iter().copied();
    groups.filter(|group| *group != EmojiGroup::Flags).collect()
}

impl PrepareSettings {
    /// Width and height of the images of the data set.
    pub fn image_size(&self) -> (u32, u32) {
        match self.transform {
            Transform::CenterCropWide => (self.resolution, self.resolution),
            _ => (self.resolution, self.height.unwrap_or(self.resolution)),
        }
    }
}
