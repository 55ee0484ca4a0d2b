//! A data set to the statistics of its features.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use patchwork_terms::{Crop, Resize};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ConfigError;
use crate::nearest::nearest;
use crate::section::Section;
use crate::value::OneOrMany;

pub(crate) const KEYS: &[&str] = &[
    "extractor",
    "torchscript",
    "batch_size",
    "crops",
    "spatial",
    "keep_features",
    "statistics",
    "images",
];
const TORCHSCRIPT_KEYS: &[&str] = &["file", "side", "mean", "std", "resize"];

const SHIPPED: &str = "efficientnet-lite0";
const INCEPTION: &str = "inception-v3";

/// Features of so many images are kept unless a pipeline says otherwise.
const KEPT_FEATURES: u32 = 10_000;

/// Settings of a stage that measures a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceSettings {
    /// The networks whose features are compared, each with its resize; none twice.
    #[serde(deserialize_with = "one_or_many")]
    pub extractor: Vec<ExtractorChoice>,
    /// TorchScript programs that `extractor` names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub torchscript: BTreeMap<String, TorchScriptSettings>,
    /// Images at once, and between two durable points.
    pub batch_size: u32,
    /// Random crops that are compared beside whole images.
    #[serde(default)]
    pub crops: Vec<Crop>,
    /// Whether Inception's inner map is compared too (sFID).
    #[serde(default)]
    pub spatial: bool,
    /// Of so many images, the features themselves are kept, for the kernel distance, precision and recall.
    #[serde(default)]
    pub keep_features: u32,
    /// Statistics that were made elsewhere: an `.npz` file with `mu` and `sigma`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<PathBuf>,
    /// How many images these are of, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
}

/// A network by name, with its resize.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ExtractorChoice {
    /// `efficientnet-lite0`, `inception-v3` or a table of `torchscript`.
    pub network: String,
    /// How images come to Inception's input; none for a network that has only one way.
    pub resize: Option<Resize>,
}

/// A TorchScript program that gives features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TorchScriptSettings {
    /// A path, or a file's name in the folder of the weights.
    pub file: PathBuf,
    /// Side of the input in pixels.
    pub side: u32,
    /// Subtracted from the pixels in [0, 1], by channel.
    pub mean: [f64; 3],
    /// What the difference is divided by.
    pub std: [f64; 3],
    /// How images come to that side.
    pub resize: Resize,
}

impl ReferenceSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let torchscript = (section.tables("torchscript", TORCHSCRIPT_KEYS)?)
            .into_iter()
            .map(|(name, table)| {
                check_name(&table, &name)?;
                Ok((name, TorchScriptSettings::read(&table)?))
            })
            .collect::<Result<BTreeMap<_, _>, ConfigError>>()?;
        let statistics: Option<String> = section.optional("statistics")?;
        let default = if statistics.is_some() {
            INCEPTION
        } else {
            SHIPPED
        };
        let named: OneOrMany<String> =
            section.or("extractor", OneOrMany(vec![default.to_owned()]))?;
        let mut extractor: Vec<ExtractorChoice> = Vec::new();
        for name in &named.0 {
            let chosen = choose(name, &torchscript)
                .map_err(|problem| section.invalid("extractor", problem))?;
            if extractor.contains(&chosen) {
                let problem = format!("names `{chosen}` twice");
                return Err(section.invalid("extractor", problem));
            }
            extractor.push(chosen);
        }
        if extractor.is_empty() {
            return Err(section.invalid("extractor", "names no network"));
        }
        let chosen: Vec<Crop> = section.or("crops", Vec::new())?;
        let kept = if statistics.is_some() {
            0
        } else {
            KEPT_FEATURES
        };
        let settings = Self {
            extractor,
            torchscript,
            batch_size: section.integer("batch_size", Some(64), 1..=65_536)?,
            crops: (Crop::ALL.iter().copied())
                .filter(|crop| chosen.contains(crop))
                .collect(),
            spatial: section.or("spatial", false)?,
            keep_features: section.integer("keep_features", Some(kept), 0..=10_000_000)?,
            statistics: statistics.map(PathBuf::from),
            images: section.optional("images")?,
        };
        settings.check(section)?;
        Ok(settings)
    }

    fn check(&self, section: &Section<'_>) -> Result<(), ConfigError> {
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
                return Err(section.invalid("images", "is only for `statistics` made elsewhere"));
            }
            return Ok(());
        }
        if self.extractor.len() > 1 {
            let problem = "names several networks, but `statistics` are of one";
            return Err(section.invalid("extractor", problem));
        }
        let foreign = "is not possible with `statistics` made elsewhere, which hold whole images' mean and covariance";
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

/// A network with its resize, such as `inception-v3/clean`.
pub(crate) fn choose(
    text: &str,
    torchscript: &BTreeMap<String, TorchScriptSettings>,
) -> Result<ExtractorChoice, String> {
    let choice = ExtractorChoice::try_from(text.to_owned())?;
    let own = choice.network.as_str();
    if own == INCEPTION {
        return match choice.resize {
            Some(Resize::Bicubic) => Err(unknown_resize(text)),
            Some(Resize::None) => Err(format!("is `{text}`, but `{INCEPTION}` takes one size")),
            _ => Ok(ExtractorChoice {
                resize: choice.resize.or(Some(Resize::Tf1)),
                ..choice
            }),
        };
    }
    if own != SHIPPED && !torchscript.contains_key(own) {
        let known = [SHIPPED, INCEPTION].into_iter();
        let known: Vec<&str> = known
            .chain(torchscript.keys().map(String::as_str))
            .collect();
        let meant = nearest(own, known.iter().copied())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        return Err(format!(
            "names `{own}`; there are {}, and what a table [….torchscript.NAME] describes{meant}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    if choice.resize.is_some() {
        let problem = format!("is `{text}`, but only `{INCEPTION}` has several ways to resize");
        return Err(problem);
    }
    Ok(choice)
}

fn check_name(section: &Section<'_>, name: &str) -> Result<(), ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let problem = if !name.bytes().all(is_plain) || name.is_empty() {
        "may have lower-case letters, digits and hyphens in its name"
    } else if name == SHIPPED || name == INCEPTION {
        "has the name of a network that is known already"
    } else {
        return Ok(());
    };
    Err(section.invalid("file", format!("of `{name}`, which {problem}")))
}

impl TorchScriptSettings {
    fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let triple = |key: &str, default: f64| {
            let values: Vec<f64> = section.or(key, vec![default; 3])?;
            <[f64; 3]>::try_from(values)
                .ok()
                .filter(|values| values.iter().all(|value| value.is_finite()))
                .ok_or_else(|| section.invalid(key, "must be three numbers, one a channel"))
        };
        let file: String = section.required("file")?;
        let settings = Self {
            file: PathBuf::from(file),
            side: section.integer("side", None, 1..=4096)?,
            mean: triple("mean", 0.0)?,
            std: triple("std", 1.0)?,
            resize: section.or("resize", Resize::Clean)?,
        };
        if settings.std.iter().any(|value| *value <= 0.0) {
            return Err(section.invalid("std", "must be above 0: pixels are divided by it"));
        }
        Ok(settings)
    }
}

impl fmt::Display for ExtractorChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Some(resize) => write!(formatter, "{}/{}", self.network, resize.name()),
            None => formatter.write_str(&self.network),
        }
    }
}

impl From<ExtractorChoice> for String {
    fn from(choice: ExtractorChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for ExtractorChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((network, resize)) = text.split_once('/') else {
            return Ok(Self {
                network: text,
                resize: None,
            });
        };
        let resize = Resize::from_name(resize).ok_or_else(|| unknown_resize(&text))?;
        Ok(Self {
            network: network.to_owned(),
            resize: Some(resize),
        })
    }
}

fn unknown_resize(text: &str) -> String {
    format!("is `{text}`: images are resized as `tf1`, `torch` or `clean`")
}

/// Pipelines that were recorded with one network wrote it without a list.
fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ExtractorChoice>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Typed {
        One(ExtractorChoice),
        Many(Vec<ExtractorChoice>),
    }
    Ok(match Typed::deserialize(deserializer)? {
        Typed::One(choice) => vec![choice],
        Typed::Many(choices) => choices,
    })
}
