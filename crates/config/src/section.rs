//! One table of a document: its keys, and errors that say where they stand.

use crate::error::{ConfigError, Location, Problem};
use crate::nearest::nearest;
use crate::tree::{Data, Table};

/// One table of a document.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Dotted path, empty at the top level.
    pub(crate) name: String,
    pub(crate) table: &'a Table,
    location: &'a Location,
}

impl<'a> Section<'a> {
    pub(crate) fn new(name: String, table: &'a Table, location: &'a Location) -> Self {
        Self {
            name,
            table,
            location,
        }
    }

    /// The keys that were typed, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Whether `key` was typed.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The table under `key`, if there is one.
    ///
    /// # Errors
    /// For anything else under that key.
    pub fn table(&self, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(entry) = self.table.get(key) else {
            return Ok(None);
        };
        match &entry.value.data {
            Data::Table(table) => Ok(Some(Section::new(
                self.path_of(key),
                table,
                &entry.location,
            ))),
            other => Err(self.invalid(key, format!("must be a table, not {other}"))),
        }
    }

    /// Refuses every key that is not among `known`.
    pub fn check_keys(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.keys().find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(self.unknown(key, known)),
        }
    }

    /// An error of a key that is not among `known`.
    pub(crate) fn unknown(&self, key: &str, known: &[&str]) -> ConfigError {
        let problem = Problem::UnknownKey {
            nearest: nearest(key, known.iter().copied()),
            key: key.to_owned(),
            section: self.name.clone(),
            known: known.iter().map(|key| (*key).to_owned()).collect(),
        };
        ConfigError::at(self.location_of_key(key), problem)
    }

    /// An error at the value of `key`, or at the table's head where the value is a default.
    pub fn invalid(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let problem = Problem::Invalid {
            key: key.to_owned(),
            section: self.name.clone(),
            problem: problem.into(),
        };
        ConfigError::at(self.location_of(key), problem)
    }

    /// An error at `key` itself, rather than at its value.
    pub fn refused(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let problem = Problem::Invalid {
            key: key.to_owned(),
            section: self.name.clone(),
            problem: problem.into(),
        };
        ConfigError::at(self.location_of_key(key), problem)
    }

    /// An error of a key that must be there, and what kind of value it takes.
    pub fn missing(&self, key: &str, expected: String) -> ConfigError {
        let problem = Problem::Missing {
            key: key.to_owned(),
            section: self.name.clone(),
            expected,
        };
        ConfigError::at(self.location, problem)
    }

    /// An error of the document as a whole.
    pub fn error(&self, problem: Problem) -> ConfigError {
        ConfigError::at(self.location, problem)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a Data> {
        self.table.get(key).map(|entry| &entry.value.data)
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn location_of_key(&self, key: &str) -> &Location {
        self.table
            .get(key)
            .map_or(self.location, |entry| &entry.location)
    }

    /// Where the value of a key stands.
    pub(crate) fn location_of(&self, key: &str) -> &Location {
        self.table
            .get(key)
            .map_or(self.location, |entry| &entry.value.location)
    }
}
