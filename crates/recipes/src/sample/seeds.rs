//! Seeds, as they are typed: `0-9,100`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Seeds from `first` to `last`, both included. Written `first-last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeedRange {
    /// The first seed.
    pub first: u64,
    /// The last seed, at least `first`.
    pub last: u64,
}

/// More images than any machine samples: a wrong digit, rather than a wish.
const MOST_SEEDS: u64 = 100_000_000;

/// Seeds as they are typed: `"0-9,100"`, or one number.
pub(super) struct Typed;

impl JsonSchema for Typed {
    fn schema_name() -> Cow<'static, str> {
        "Seeds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]})
    }
}

/// Reads seeds as they are typed, or the list of ranges that is recorded.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SeedRange>, D::Error> {
    deserializer.deserialize_any(Seeds)
}

struct Seeds;

impl<'de> Visitor<'de> for Seeds {
    type Value = Vec<SeedRange>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of seeds such as \"0-9,100\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        ranges(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        ranges(&number.to_string()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(de::value::SeqAccessDeserializer::new(items))
    }
}

/// The ranges of `0-9,100`; neighbours are joined, so that the same seeds in the same order are the same settings however
/// they were typed.
///
/// # Errors
/// What is wrong with the seeds, as the rest of a sentence.
fn ranges(text: &str) -> Result<Vec<SeedRange>, String> {
    let mut ranges: Vec<SeedRange> = Vec::new();
    let mut count = 0_u64;
    for part in text.split(',') {
        let range: SeedRange = part.parse()?;
        if let Some(twice) = ranges.iter().find(|other| other.overlaps(range)) {
            return Err(format!(
                "names a seed twice: `{range}` and `{twice}` overlap"
            ));
        }
        count = count.saturating_add(range.count());
        match ranges.last_mut() {
            Some(previous) if previous.last.checked_add(1) == Some(range.first) => {
                previous.last = range.last;
            }
            _ => ranges.push(range),
        }
    }
    if count > MOST_SEEDS {
        return Err(format!(
            "names {count} seeds; at most {MOST_SEEDS} are possible"
        ));
    }
    Ok(ranges)
}

impl SeedRange {
    /// How many seeds.
    pub fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for SeedRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "has `{}`; a seed is a number or a range such as `0-9`",
                text.trim()
            )),
        }
    }
}

impl TryFrom<String> for SeedRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SeedRange> for String {
    fn from(range: SeedRange) -> Self {
        range.to_string()
    }
}
