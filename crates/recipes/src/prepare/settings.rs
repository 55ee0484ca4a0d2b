//! The settings of a `prepare` stage.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Channels, EmojiGroup, Format, Labels, SkinTones, Split, Transform};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::color;
use crate::graph::Needed;
use crate::lists::in_order;
use crate::recipe::Recipe;
use crate::shards;

/// What a source that ships with the program is called by.
const BUILTIN_PREFIX: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

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

    fn settle_source(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        let source = &self.source;
        let is_emoji = source == TWEMOJI;
        if source.is_empty() {
            return Err(section.invalid("source", "must name a folder or a built-in source"));
        }
        if source.starts_with(BUILTIN_PREFIX) && !is_emoji {
            let problem = format!("`{source}` is not built in; the only one is `{TWEMOJI}`");
            return Err(section.invalid("source", problem));
        }
        if self.emoji.is_some() && !is_emoji {
            let problem = format!("chooses emoji, but `source` is `{source}`, not `{TWEMOJI}`");
            return Err(section.invalid("emoji", problem));
        }
        if !is_emoji {
            return Ok(());
        }
        let emoji = self.emoji.get_or_insert_default();
        // The same groups in another order are the same data set.
        emoji.groups = in_order(&emoji.groups);
        if emoji.groups.is_empty() {
            let table = section.table("emoji")?;
            let table = table.as_ref().unwrap_or(section);
            return Err(table.invalid("groups", "must name at least one group"));
        }
        Ok(())
    }

    fn check_size(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let (width, height) = (self.resolution, self.height.unwrap_or(self.resolution));
        let problem = match self.transform {
            Transform::CenterCropWide if height > width => "is for images wider than high",
            Transform::CenterCropDhariwal if height != width => "gives square images only",
            _ => return Ok(()),
        };
        let problem = format!("`{}` {problem}, not {width} x {height}", self.transform);
        Err(section.invalid("transform", problem))
    }

    fn check_labels(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let labels = self.labels;
        match (labels, &self.emoji) {
            (Labels::Folder | Labels::Source | Labels::Attributes, Some(_)) => {
                let problem = format!(
                    "`{labels}` is for image files; `{TWEMOJI}` has `group` and `skin-tone`"
                );
                Err(section.invalid("labels", problem))
            }
            (Labels::Group | Labels::SkinTone, None) => {
                let problem = format!(
                    "`{labels}` is for `{TWEMOJI}`; image files have `folder` and `source`"
                );
                Err(section.invalid("labels", problem))
            }
            (Labels::SkinTone, Some(emoji)) if emoji.skin_tones == SkinTones::None => {
                let problem = "`skin-tone` gives one class only while `emoji.skin_tones` is `none`";
                Err(section.invalid("labels", problem))
            }
            (Labels::Attributes, None) if self.attributes.is_empty() => {
                let problem = "`attributes` needs the key `attributes`, such as [\"Smiling\"]";
                Err(section.invalid("labels", problem))
            }
            (other, None) if other != Labels::Attributes && !self.attributes.is_empty() => {
                let problem = "make classes only with `labels` = \"attributes\"";
                Err(section.invalid("attributes", problem))
            }
            _ => Ok(()),
        }
    }
}

impl Recipe for PrepareSettings {
    fn reads(&self) -> &'static [Needed] {
        &[]
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        self.settle_source(section)?;
        self.check_labels(section)?;
        self.check_size(section)?;
        self.images_per_shard = shards::fitting(
            section,
            self.images_per_shard,
            self.image_size(),
            self.channels.count(),
        )?;
        Ok(())
    }

    fn put_below(&mut self, folder: &Path) {
        if self.emoji.is_none() {
            self.source = folder.join(&self.source).to_string_lossy().into_owned();
        }
    }
}
