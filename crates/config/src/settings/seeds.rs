//! Seeds, as they are typed: `0-9,100`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::tree::Data;
use crate::value::FromData;

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

/// Reads `"0-9,100"` or one number; neighbours are joined, so that the same seeds in the same
/// order are the same settings however they were typed.
pub(super) fn seeds(section: &Section<'_>) -> Result<Vec<SeedRange>, ConfigError> {
    let text: SeedText = section.or("seeds", SeedText("0-999".to_owned()))?;
    let mut ranges: Vec<SeedRange> = Vec::new();
    let mut count = 0_u64;
    for part in text.0.split(',') {
        let range: SeedRange = part
            .parse()
            .map_err(|cause: String| section.invalid("seeds", cause))?;
        if let Some(twice) = ranges.iter().find(|other| other.overlaps(range)) {
            let problem = format!("names a seed twice: `{range}` and `{twice}` overlap");
            return Err(section.invalid("seeds", problem));
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
        let problem = format!("names {count} seeds; at most {MOST_SEEDS} are possible");
        return Err(section.invalid("seeds", problem));
    }
    Ok(ranges)
}

/// Seeds as typed: one seed alone may be a number.
struct SeedText(String);

impl FromData for SeedText {
    fn expected() -> String {
        "a list of seeds such as \"0-9,100\"".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::Text(text) => Some(Self(text.clone())),
            Data::Integer(number) => Some(Self(number.to_string())),
            _ => None,
        }
    }
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
