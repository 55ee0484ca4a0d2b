//! Raw images to a data set.

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::value::choice;

pub(crate) const KEYS: &[&str] = &[
    "source",
    "resolution",
    "transform",
    "background",
    "images_per_shard",
    "max_rejected",
    "labels",
    "mirror",
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
    /// Side of the square images, in pixels; a multiple of 4 wherever a network trains on them.
    pub resolution: u32,
    /// How an image becomes square.
    pub transform: Transform,
    /// Red, green and blue behind transparent pixels.
    pub background: [u8; 3],
    /// At most so many images in one shard file.
    pub images_per_shard: u32,
    /// The share of unusable images, in [0, 1], above which the stage fails.
    pub max_rejected: f64,
    /// Where class labels come from.
    pub labels: Labels,
    /// Whether each image is there a second time, mirrored left to right.
    pub mirror: bool,
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

choice! {
    /// How an image becomes a square of the wanted side.
    pub enum Transform {
        /// The largest centred square is cut out, then scaled.
        CenterCrop = "center-crop",
        /// The whole image is scaled, without regard to its proportions.
        Stretch = "stretch",
    }
}

choice! {
    /// Where class labels come from.
    pub enum Labels {
        /// No labels.
        None = "none",
        /// The name of the folder that an image lies in.
        Folder = "folder",
        /// An emoji's Unicode group.
        Group = "group",
        /// An emoji's skin tone.
        SkinTone = "skin-tone",
    }
}

choice! {
    /// A group of emoji, in Unicode's order and by its names.
    pub enum EmojiGroup {
        /// Faces, hearts and feelings.
        SmileysAndEmotion = "smileys-and-emotion",
        /// People, hands and gestures.
        PeopleAndBody = "people-and-body",
        /// Animals, plants and weather's signs of them.
        AnimalsAndNature = "animals-and-nature",
        /// Food, drink and dishes.
        FoodAndDrink = "food-and-drink",
        /// Places, vehicles, sky and weather.
        TravelAndPlaces = "travel-and-places",
        /// Events, sports, games and arts.
        Activities = "activities",
        /// Things.
        Objects = "objects",
        /// Signs and letters.
        Symbols = "symbols",
        /// Flags of countries and others.
        Flags = "flags",
    }
}

choice! {
    /// Whether variants in five skin tones are images of their own.
    pub enum SkinTones {
        /// Only the neutral, yellow picture.
        None = "none",
        /// The neutral picture and each variant.
        All = "all",
    }
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
        let settings = Self {
            source,
            resolution: section.integer("resolution", None, 4..=4096)?,
            transform: section.or("transform", Transform::CenterCrop)?,
            background: background(section)?,
            images_per_shard: section.integer("images_per_shard", Some(1024), 1..=1_000_000)?,
            max_rejected: section.number("max_rejected", Some(0.001), 0.0..=1.0)?,
            labels: section.or("labels", Labels::None)?,
            mirror: section.or("mirror", false)?,
            emoji,
        };
        settings.check_labels(section)?;
        Ok(settings)
    }

    fn check_labels(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let labels = self.labels.name();
        match (self.labels, &self.emoji) {
            (Labels::Folder, Some(_)) => {
                let problem = format!(
                    "`{labels}` is for a folder of images; `{TWEMOJI}` has `group` and `skin-tone`"
                );
                Err(section.invalid("labels", problem))
            }
            (Labels::Group | Labels::SkinTone, None) => {
                let problem =
                    format!("`{labels}` is for `{TWEMOJI}`; a folder of images has `folder`");
                Err(section.invalid("labels", problem))
            }
            (Labels::SkinTone, Some(emoji)) if emoji.skin_tones == SkinTones::None => {
                let problem = "`skin-tone` tells one class only while `emoji.skin_tones` is `none`";
                Err(section.invalid("labels", problem))
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
