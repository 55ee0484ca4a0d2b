//! Typed reading of one table: every key is known, of the right type, in its range.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::{ConfigError, Location, Problem};
use crate::nearest::nearest;
use crate::tree::{Data, Table};
use crate::value::FromData;

/// One table of a file, and the keys that it may have.
pub(crate) struct Section<'a> {
    /// Dotted path, empty at the top level.
    name: String,
    table: &'a Table,
    location: Location,
}

impl<'a> Section<'a> {
    /// A table whose every key is among `keys`.
    pub(crate) fn new(
        name: String,
        table: &'a Table,
        location: Location,
        keys: &[&str],
    ) -> Result<Self, ConfigError> {
        for entry in &table.entries {
            if !keys.contains(&entry.key.as_str()) {
                let problem = Problem::UnknownKey {
                    nearest: nearest(&entry.key, keys.iter().copied()),
                    key: entry.key.clone(),
                    section: name,
                    known: keys.iter().map(|key| (*key).to_owned()).collect(),
                };
                return Err(ConfigError::at(&entry.location, problem));
            }
        }
        Ok(Self {
            name,
            table,
            location,
        })
    }

    /// The table under `key`, if there is one.
    pub(crate) fn table(
        &self,
        key: &str,
        keys: &[&str],
    ) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(entry) = self.table.get(key) else {
            return Ok(None);
        };
        let Data::Table(table) = &entry.value.data else {
            let found = entry.value.data.to_string();
            return Err(self.wrong_type(key, "a table".to_owned(), found, None));
        };
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        Section::new(name, table, entry.location.clone(), keys).map(Some)
    }

    /// The tables in the table under `key`, which people name as they like.
    pub(crate) fn tables(
        &self,
        key: &str,
        keys: &[&str],
    ) -> Result<Vec<(String, Section<'a>)>, ConfigError> {
        let names: Vec<&str> = match self.table.get(key).map(|entry| &entry.value.data) {
            Some(Data::Table(table)) => (table.entries.iter())
                .map(|entry| entry.key.as_str())
                .collect(),
            _ => Vec::new(),
        };
        let Some(outer) = self.table(key, &names)? else {
            return Ok(Vec::new());
        };
        names
            .into_iter()
            .filter_map(|name| match outer.table(name, keys) {
                Ok(table) => Some(Ok((name.to_owned(), table?))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Whether `key` was typed.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The value under `key`, if there is one.
    pub(crate) fn optional<T: FromData>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.table.get(key) else {
            return Ok(None);
        };
        let data = &entry.value.data;
        T::from_data(data).map(Some).ok_or_else(|| {
            let words = T::words();
            let misspelt = misspelt(data, &words);
            let nearest = misspelt.and_then(|typed| nearest(typed, words.iter().copied()));
            let found = match misspelt {
                Some(typed) => format!("{typed:?}"),
                None => data.to_string(),
            };
            self.wrong_type(key, T::expected(), found, nearest)
        })
    }

    /// The value under `key`, or the default.
    pub(crate) fn or<T: FromData>(&self, key: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The value under `key`, which must be there.
    pub(crate) fn required<T: FromData>(&self, key: &str) -> Result<T, ConfigError> {
        self.optional(key)?.ok_or_else(|| {
            let problem = Problem::Missing {
                key: key.to_owned(),
                section: self.name.clone(),
                expected: T::expected(),
            };
            ConfigError::at(&self.location, problem)
        })
    }

    /// A whole number within `range`; without a default it must be there.
    pub(crate) fn integer<T>(
        &self,
        key: &str,
        default: Option<T>,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: FromData + PartialOrd + Display,
    {
        let value = match default {
            Some(default) => self.or(key, default)?,
            None => self.required(key)?,
        };
        if range.contains(&value) {
            return Ok(value);
        }
        let problem = format!(
            "is {value}, not between {} and {}",
            range.start(),
            range.end()
        );
        Err(self.invalid(key, problem))
    }

    /// A finite number within `range`; without a default it must be there.
    pub(crate) fn number(
        &self,
        key: &str,
        default: Option<f64>,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ConfigError> {
        self.integer(key, default, range)
    }

    /// A finite number above 0.
    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A finite number above 0, if there is one.
    pub(crate) fn optional_positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.optional::<f64>(key)? {
            Some(value) if !(value > 0.0 && value.is_finite()) => {
                Err(self.invalid(key, format!("is {value}, not a number above 0")))
            }
            value => Ok(value),
        }
    }

    /// An error at the value of `key`, or at the table's head where the value is a default.
    pub(crate) fn invalid(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let problem = Problem::Invalid {
            key: key.to_owned(),
            section: self.name.clone(),
            problem: problem.into(),
        };
        ConfigError::at(self.location_of(key), problem)
    }

    fn wrong_type(
        &self,
        key: &str,
        expected: String,
        found: String,
        nearest: Option<String>,
    ) -> ConfigError {
        let problem = Problem::WrongType {
            key: key.to_owned(),
            section: self.name.clone(),
            expected,
            found,
            nearest,
        };
        ConfigError::at(self.location_of(key), problem)
    }

    fn location_of(&self, key: &str) -> &Location {
        self.table
            .get(key)
            .map_or(&self.location, |entry| &entry.value.location)
    }
}

/// The typed word that is none of the allowed ones.
fn misspelt<'a>(data: &'a Data, words: &[&str]) -> Option<&'a str> {
    match data {
        Data::Text(text) if !words.is_empty() => {
            Some(text.as_str()).filter(|text| !words.contains(text))
        }
        Data::List(items) => items.iter().find_map(|item| misspelt(item, words)),
        _ => None,
    }
}
