//! Moments, as records have them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in milliseconds since 1970 in UTC.
///
/// As text it is RFC 3339 with milliseconds, which sorts as it reads: `2026-01-31T12:00:00.000Z`. A moment outside of the
/// years -9999 to 9999 is written as the beginning of 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The present moment.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// The moment so many milliseconds after the beginning of 1970.
    pub fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the beginning of 1970.
    pub fn milliseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(formatter, "{moment:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let moment: jiff::Timestamp = text.parse()?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_from_its_text() {
        let moment = Timestamp::from_milliseconds(1_769_860_800_007);
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.007Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        assert!("yesterday".parse::<Timestamp>().is_err());
        let far = Timestamp::from_milliseconds(i64::MAX);
        assert_eq!(far.to_string(), "1970-01-01T00:00:00.000Z");
    }
}
