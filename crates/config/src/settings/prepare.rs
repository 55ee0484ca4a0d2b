//! Raw images to a data set.

use patchwork_terms::{Channels, EmojiGroup, Format, Labels, SkinTones, Split, Transform};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::settings::shards;

pub(crate) const KEYS: &[&str] = &[
    "source",
    "format",
    "split",
    "classes",
    "attributes",
    "obtain",
    "resolution",
    "height",
    "transform",
    "channels",
    "background",
    shards::KEY,
    "max_rejected",
    "labels",
    "mirror",
    "exif_orientation",
    "depth",
    "emoji",
];
const EMOJI_KEYS: &[&str] = &["groups", "skin_tones", "from", "to"];

/// What a source that ships with the program is called by.
const BUILTIN_PREFIX: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

/// Settings of a stage that prepares a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrepareSettings {
    /// A path as typed, relative to the current folder, or `builtin:twemoji`.
    pub source: String,
    /// How the source lies on disk; none = what its content looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The part of the data set to take; none = what the format's users take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// The classes to keep, by name; none = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// The attributes of CelebA that make classes, with `labels = "attributes"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Where the source comes from, for whoever does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtain: Option<String>,
    /// Width of the images and, without `height`, their height too; a multiple of 4 wherever a network trains on them.
    pub resolution: u32,
    /// Height that images are brought to, where it is not their width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How an image becomes square.
    pub transform: Transform,
    /// What a pixel of the images holds.
    #[serde(default, skip_serializing_if = "Channels::is_default")]
    pub channels: Channels,
    /// Red, green and blue behind transparent pixels.
    pub background: [u8; 3],
    /// At most so many images in one shard file; the default is less for large images.
    pub images_per_shard: u32,
    /// The share of unusable images, in [0, 1], above which the stage fails.
    pub max_rejected: f64,
    /// Where class labels come from.
    pub labels: Labels,
    /// Whether each image is there a second time, mirrored left to right.
    pub mirror: bool,
    /// Whether images are turned as their EXIF data says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exif_orientation: bool,
    /// How many bits of 16-bit samples are used, from the lowest, in 8..=16; none = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Which emoji; present exactly when the source is `builtin:twemoji`.
    pub emoji: Option<EmojiSettings>,
}

/// Which of the built-in emoji are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmojiSettings {
    /// Unicode groups, in Unicode's order.
    pub groups: Vec<EmojiGroup>,
    /// Whether variants in five skin tones are images of their own.
    pub skin_tones: SkinTones,
    /// Unicode name of the first emoji, in Unicode's order; none = from the start.
    pub from: Option<String>,
    /// Unicode name of the last emoji, inclusive; none = to the end.
    pub to: Option<String>,
}

impl PrepareSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let source: String = section.required("source")?;
        let is_emoji = source == TWEMOJI;
        if source.is_empty() {
            return Err(section.invalid("source", "must name a folder or a built-in source"));
        }
        if source.starts_with(BUILTIN_PREFIX) && !is_emoji {
            let problem = format!("`{source}` is not built in; the only one is `{TWEMOJI}`");
            return Err(section.invalid("source", problem));
        }
        let emoji = section.table("emoji", EMOJI_KEYS)?;
        let emoji = match (is_emoji, emoji) {
            (true, Some(emoji)) => Some(EmojiSettings::read(&emoji)?),
            (true, None) => Some(EmojiSettings::default()),
            (false, Some(_)) => {
                let problem = format!("chooses emoji, but `source` is `{source}`, not `{TWEMOJI}`");
                return Err(section.invalid("emoji", problem));
            }
            (false, None) => None,
        };
        let mut settings = Self {
            source,
            format: section.optional("format")?,
            split: section.optional("split")?,
            classes: section.optional("classes")?,
            attributes: section.or("attributes", Vec::new())?,
            obtain: section.optional("obtain")?,
            height: section
                .has("height")
                .then(|| section.integer("height", None, 4..=4096))
                .transpose()?,
            exif_orientation: section.or("exif_orientation", false)?,
            resolution: section.integer("resolution", None, 4..=4096)?,
            transform: section.or("transform", Transform::CenterCrop)?,
            channels: Channels::try_from(section.or("channels", 3_u32)?)
                .map_err(|problem| section.invalid("channels", problem.to_string()))?,
            background: background(section)?,
            images_per_shard: section.integer(shards::KEY, Some(1024), 1..=1_000_000)?,
            max_rejected: section.number("max_rejected", Some(0.001), 0.0..=1.0)?,
            labels: section.or("labels", Labels::None)?,
            mirror: section.or("mirror", false)?,
            depth: section
                .has("depth")
                .then(|| section.integer("depth", None, 8..=16))
                .transpose()?,
            emoji,
        };
        settings.check_labels(section)?;
        settings.check_size(section)?;
        settings.images_per_shard = shards::fitting(
            section,
            settings.images_per_shard,
            settings.image_size(),
            settings.channels.count(),
        )?;
        Ok(settings)
    }

    /// Width and height of the images of the data set.
    pub fn image_size(&self) -> (u32, u32) {
        match self.transform {
            Transform::CenterCropWide => (self.resolution, self.resolution),
            _ => (self.resolution, self.height.unwrap_or(self.resolution)),
        }
    }

    fn check_size(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let (width, height) = (self.resolution, self.height.unwrap_or(self.resolution));
        let problem = match self.transform {
            Transform::CenterCropWide if height > width => "is for images wider than high",
            Transform::CenterCropDhariwal if height != width => "gives square images only",
            _ => return Ok(()),
        };
        let problem = format!(
            "`{}` {problem}, not {width} x {height}",
            self.transform.name()
        );
        Err(section.invalid("transform", problem))
    }

    fn check_labels(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let labels = self.labels.name();
        match (self.labels, &self.emoji) {
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
                let problem = "`skin-tone` tells one class only while `emoji.skin_tones` is `none`";
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

impl Default for EmojiSettings {
    /// All emoji but flags, in neutral skin.
    fn default() -> Self {
        let groups = EmojiGroup::ALL
            .iter()
            .copied()
            .filter(|group| *group != EmojiGroup::Flags);
        Self {
            groups: groups.collect(),
            skin_tones: SkinTones::None,
            from: None,
            to: None,
        }
    }
}

impl EmojiSettings {
    fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let chosen: Vec<EmojiGroup> = section.or("groups", default.groups)?;
        // The same groups in another order are the same data set.
        let groups: Vec<_> = EmojiGroup::ALL
            .iter()
            .copied()
            .filter(|group| chosen.contains(group))
            .collect();
        if groups.is_empty() {
            return Err(section.invalid("groups", "must name at least one group"));
        }
        Ok(Self {
            groups,
            skin_tones: section.or("skin_tones", default.skin_tones)?,
            from: section.optional("from")?,
            to: section.optional("to")?,
        })
    }
}

/// Reads `#rrggbb`.
fn background(section: &Section<'_>) -> Result<[u8; 3], ConfigError> {
    let text: String = section.or("background", "#ffffff".to_owned())?;
    let digits = text
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let [_, red, green, blue] = number
        .ok_or_else(|| {
            let problem = format!("must be a colour such as `#ffffff`, not `{text}`");
            section.invalid("background", problem)
        })?
        .to_be_bytes();
    Ok([red, green, blue])
}
