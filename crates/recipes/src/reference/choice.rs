//! A network by name, as it is typed: `inception-v3/clean`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use patchwork_config::nearest;
use patchwork_terms::Resize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::torchscript::{INCEPTION, SHIPPED, TorchScriptSettings};

/// A network by name, with its resize.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ExtractorChoice {
    /// `efficientnet-lite0`, `inception-v3` or a table of `torchscript`.
    pub network: String,
    /// How images come to Inception's input; none for a network that has only one way.
    pub resize: Option<Resize>,
}

impl ExtractorChoice {
    /// EfficientNet-Lite0, which ships with the program.
    pub(crate) fn shipped() -> Self {
        Self {
            network: SHIPPED.to_owned(),
            resize: None,
        }
    }

    /// Inception-v3, resized as the published numbers are.
    pub(super) fn inception() -> Self {
        Self {
            network: INCEPTION.to_owned(),
            resize: Some(Resize::Tf1),
        }
    }

    /// The choice with its resize, once the networks of the user's own are known.
    ///
    /// # Errors
    /// Why there is no such network, as the rest of a sentence.
    pub(crate) fn settled(
        self,
        torchscript: &BTreeMap<String, TorchScriptSettings>,
    ) -> Result<Self, String> {
        let own = self.network.as_str();
        if own == INCEPTION {
            return match self.resize {
                Some(Resize::Bicubic) => Err(unknown_resize(&self.to_string())),
                Some(Resize::None) => Err(format!("is `{self}`, but `{INCEPTION}` takes one size")),
                resize => Ok(Self {
                    resize: resize.or(Some(Resize::Tf1)),
                    ..self
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
        if self.resize.is_some() {
            return Err(format!(
                "is `{self}`, but only `{INCEPTION}` has several ways to resize"
            ));
        }
        Ok(self)
    }
}

impl fmt::Display for ExtractorChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Some(resize) => write!(formatter, "{}/{resize}", self.network),
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

impl JsonSchema for ExtractorChoice {
    fn schema_name() -> Cow<'static, str> {
        "ExtractorChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

/// One choice, or a list of them, as they are typed.
pub(super) struct Typed;

impl JsonSchema for Typed {
    fn schema_name() -> Cow<'static, str> {
        "Extractors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = ExtractorChoice::json_schema(generator);
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// Reads one choice, or a list of them.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ExtractorChoice>, D::Error> {
    deserializer.deserialize_any(OneOrMany)
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<ExtractorChoice>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let choice = ExtractorChoice::try_from(text.to_owned()).map_err(E::custom)?;
        Ok(vec![choice])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(items))
    }
}
