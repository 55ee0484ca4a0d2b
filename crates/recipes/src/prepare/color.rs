//! A colour, as it is typed: `#rrggbb`.

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// White.
pub(super) const WHITE: [u8; 3] = [255; 3];

/// Reads red, green and blue from `#rrggbb`, as it is typed, or from three numbers, as it is recorded.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 3], D::Error> {
    deserializer.deserialize_any(Color)
}

struct Color;

impl<'de> Visitor<'de> for Color {
    type Value = [u8; 3];

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a colour such as `#ffffff`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 3], E> {
        let is_color = |digits: &&str| {
            digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let digits = text.strip_prefix('#').filter(is_color);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] = number
            .ok_or_else(|| E::custom(format!("must be a colour such as `#ffffff`, not `{text}`")))?
            .to_be_bytes();
        Ok([red, green, blue])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<[u8; 3], A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(items))
    }
}
