//! The emoji pictures that ship with the build: Twemoji, 72 x 72 pixels with transparency.
//!
//! The order is Unicode's (CLDR), each emoji followed by its skin-tone variants. An emoji of which
//! Twemoji has no picture is not part of the source.

use std::borrow::Cow;
use std::ops::Range;

use emojis::{Emoji, Group, SkinTone};
use patchwork_core::Digest;
use patchwork_terms::{EmojiGroup, Labels, SkinTones};
use twemoji_assets::png::PngTwemojiAsset;

use super::account::{Account, PassedOver};
use super::listing::digest_listing;
use super::raw::{Entry, Fetched, Payload, Source};
use crate::error::DatasetError;

const CREDIT: &str = "Twemoji, Copyright Twitter, Inc. and other contributors, CC-BY 4.0";

/// Emoji presentation, which Unicode's names of emoji have and some of Twemoji's do not.
const PRESENTATION: char = '\u{fe0f}';

/// Which emoji to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmojiFilter {
    /// Unicode groups.
    pub groups: Vec<EmojiGroup>,
    /// Whether emoji in five skin tones are images of their own.
    pub skin_tones: SkinTones,
    /// The Unicode name of the first emoji to take, in Unicode order.
    pub from: Option<String>,
    /// The Unicode name of the last emoji to take.
    pub to: Option<String>,
}

impl Default for EmojiFilter {
    /// All emoji but flags, in neutral skin.
    fn default() -> Self {
        let groups = EmojiGroup::ALL.iter().copied();
        Self {
            groups: groups.filter(|group| *group != EmojiGroup::Flags).collect(),
            skin_tones: SkinTones::None,
            from: None,
            to: None,
        }
    }
}

pub(super) struct TwemojiSource {
    pictures: Vec<Picture>,
    class_names: Vec<String>,
    digest: Digest,
    account: Account,
}

struct Picture {
    key: String,
    label: Option<u32>,
    png: &'static [u8],
}

impl TwemojiSource {
    pub(super) fn open(labels: Labels, filter: &EmojiFilter) -> Result<Self, DatasetError> {
        let chosen = select(filter)?;
        let class_names = match labels {
            Labels::Group => classes(&chosen, |emoji| group(emoji).name()),
            Labels::SkinTone => classes(&chosen, skin_tone_name),
            Labels::None | Labels::Folder | Labels::Source | Labels::Attributes => Vec::new(),
        };
        let label_of = |emoji: &Emoji| {
            let class = match labels {
                Labels::Group => group(emoji).name(),
                Labels::SkinTone => skin_tone_name(emoji),
                Labels::None | Labels::Folder | Labels::Source | Labels::Attributes => return None,
            };
            class_names
                .iter()
                .position(|name| name == class)
                .map(|label| label as u32)
        };
        let pictures: Vec<Picture> = chosen
            .into_iter()
            .map(|(emoji, png)| Picture {
                key: key(emoji),
                label: label_of(emoji),
                png,
            })
            .collect();
        if pictures.is_empty() {
            return Err(DatasetError::EmptySource {
                source_name: "builtin:twemoji".to_owned(),
                problem: "`groups`, `from` and `to` under `emoji` have no emoji in common"
                    .to_owned(),
            });
        }
        let digest = digest_listing(pictures.iter().map(|picture| {
            (
                picture.key.as_str(),
                picture.png.len() as u64,
                Digest::of(picture.png),
            )
        }));
        let all = emojis::iter().flat_map(|emoji| {
            (emoji.skin_tones().into_iter().flatten())
                .filter(|variant| variant.as_str() != emoji.as_str())
                .chain([emoji])
        });
        let mut passed_over = PassedOver::default();
        let (entries, without) = all.fold((0, 0), |(entries, without), emoji| {
            (entries + 1, without + u64::from(picture(emoji).is_none()))
        });
        passed_over.add_many("without a picture", without);
        let left_out = entries - without - pictures.len() as u64;
        passed_over.add_many("that `emoji` does not choose", left_out);
        let account = Account {
            format: "twemoji".to_owned(),
            classes_by: match labels {
                Labels::Group => Some("Unicode group".to_owned()),
                Labels::SkinTone => Some("skin tone".to_owned()),
                _ => None,
            },
            entries,
            passed_over,
            ..Account::default()
        };
        Ok(Self {
            pictures,
            class_names,
            digest,
            account,
        })
    }
}

impl Source for TwemojiSource {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        let picture = &self.pictures[index];
        Entry {
            key: &picture.key,
            label: picture.label,
        }
    }

    fn stored_bytes(&self, index: usize) -> u64 {
        self.pictures[index].png.len() as u64
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        Ok(self.pictures[range]
            .iter()
            .map(|picture| Ok(Payload::File(Cow::Borrowed(picture.png))))
            .collect())
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn credit(&self) -> Option<&str> {
        Some(CREDIT)
    }

    fn account(&self) -> &Account {
        &self.account
    }
}

/// The chosen emoji that have a picture, in order.
fn select(filter: &EmojiFilter) -> Result<Vec<(&'static Emoji, &'static [u8])>, DatasetError> {
    let first = filter
        .from
        .as_deref()
        .map(position)
        .transpose()?
        .unwrap_or(0);
    let last = filter
        .to
        .as_deref()
        .map(position)
        .transpose()?
        .unwrap_or(usize::MAX);
    if first > last {
        return Err(DatasetError::Setting {
            setting: "emoji.to",
            value: format!("{:?}", filter.to.as_deref().unwrap_or_default()),
            problem: format!(
                "it comes before `from` = {:?} in Unicode order",
                filter.from.as_deref().unwrap_or_default()
            ),
        });
    }
    let in_range = emojis::iter()
        .skip(first)
        .take((last - first).saturating_add(1));
    let mut chosen = Vec::new();
    for emoji in in_range.filter(|emoji| filter.groups.contains(&group(emoji))) {
        let variants: Vec<&'static Emoji> = match emoji.skin_tones() {
            Some(variants) if filter.skin_tones == SkinTones::All => variants.collect(),
            _ => vec![emoji],
        };
        chosen.extend(
            variants
                .into_iter()
                .filter_map(|emoji| Some((emoji, picture(emoji)?))),
        );
    }
    Ok(chosen)
}

fn picture(emoji: &Emoji) -> Option<&'static [u8]> {
    let found = PngTwemojiAsset::from_emoji(emoji.as_str()).or_else(|| {
        let plain: String = emoji
            .as_str()
            .chars()
            .filter(|char| *char != PRESENTATION)
            .collect();
        PngTwemojiAsset::from_emoji(&plain)
    })?;
    Some(found.data.0)
}

/// The code points in hexadecimal, joined by hyphens: `1f468-200d-1f52c.png`.
fn key(emoji: &Emoji) -> String {
    let points: Vec<String> = emoji
        .as_str()
        .chars()
        .map(|char| format!("{:x}", u32::from(char)))
        .collect();
    points.join("-") + ".png"
}

fn position(name: &str) -> Result<usize, DatasetError> {
    emojis::iter()
        .position(|emoji| emoji.name() == name)
        .ok_or_else(|| {
            DatasetError::unknown_name(
                "emoji",
                name,
                emojis::iter().map(Emoji::name),
                "`from` and `to` are Unicode names such as `grinning face`",
            )
        })
}

/// The classes that occur among the emoji, in order of first appearance.
fn classes(
    chosen: &[(&'static Emoji, &'static [u8])],
    class_of: impl Fn(&Emoji) -> &'static str,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (emoji, _) in chosen {
        let class = class_of(emoji);
        if !names.iter().any(|name| name == class) {
            names.push(class.to_owned());
        }
    }
    names
}

fn group(emoji: &Emoji) -> EmojiGroup {
    match emoji.group() {
        Group::SmileysAndEmotion => EmojiGroup::SmileysAndEmotion,
        Group::PeopleAndBody => EmojiGroup::PeopleAndBody,
        Group::AnimalsAndNature => EmojiGroup::AnimalsAndNature,
        Group::FoodAndDrink => EmojiGroup::FoodAndDrink,
        Group::TravelAndPlaces => EmojiGroup::TravelAndPlaces,
        Group::Activities => EmojiGroup::Activities,
        Group::Objects => EmojiGroup::Objects,
        Group::Symbols => EmojiGroup::Symbols,
        Group::Flags => EmojiGroup::Flags,
    }
}

/// The tone of an emoji of one person, `default` without one, `mixed` for two people of different tones.
fn skin_tone_name(emoji: &Emoji) -> &'static str {
    match emoji.skin_tone() {
        None | Some(SkinTone::Default) => "default",
        Some(SkinTone::Light) => "light",
        Some(SkinTone::MediumLight) => "medium-light",
        Some(SkinTone::Medium) => "medium",
        Some(SkinTone::MediumDark) => "medium-dark",
        Some(SkinTone::Dark) => "dark",
        Some(_) => "mixed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(filter: &EmojiFilter) -> Vec<String> {
        let source = TwemojiSource::open(Labels::None, filter).unwrap();
        (0..source.len())
            .map(|index| source.entry(index).key.to_owned())
            .collect()
    }

    #[test]
    fn filters_choose_a_range_in_unicode_order() {
        let filter = EmojiFilter {
            from: Some("raised hand".to_owned()),
            to: Some("vulcan salute".to_owned()),
            ..EmojiFilter::default()
        };
        assert_eq!(keys(&filter), ["270b.png", "1f596.png"]);
        let toned = keys(&EmojiFilter {
            skin_tones: SkinTones::All,
            ..filter.clone()
        });
        assert_eq!(
            (toned.len(), &toned[..2]),
            (
                12,
                &["270b.png".to_owned(), "270b-1f3fb.png".to_owned()][..]
            )
        );
        let other = EmojiFilter {
            groups: vec![EmojiGroup::Flags],
            ..filter
        };
        assert!(TwemojiSource::open(Labels::None, &other).is_err());
    }

    /// Nearly every emoji has a picture: a change in how names are matched would show here.
    #[test]
    fn nearly_all_emoji_have_pictures_and_labels() {
        let filter = EmojiFilter {
            groups: EmojiGroup::ALL.to_vec(),
            skin_tones: SkinTones::All,
            ..EmojiFilter::default()
        };
        let source = TwemojiSource::open(Labels::Group, &filter).unwrap();
        assert!(source.len() > 3700, "{} pictures", source.len());
        assert_eq!(
            (source.class_names().len(), source.entry(0).label),
            (9, Some(0))
        );
        let tones = TwemojiSource::open(Labels::SkinTone, &filter).unwrap();
        let names = [
            "default",
            "light",
            "medium-light",
            "medium",
            "medium-dark",
            "dark",
            "mixed",
        ];
        assert_eq!(tones.class_names(), names);
        assert_eq!(source.fetch(0..2).unwrap().len(), 2);
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_nearest_one() {
        let from = EmojiFilter {
            from: Some("grining face".to_owned()),
            ..EmojiFilter::default()
        };
        let error = TwemojiSource::open(Labels::None, &from)
            .err()
            .unwrap()
            .to_string();
        assert!(error.ends_with("did you mean `grinning face`?"), "{error}");
    }
}
