//! One table of a document, read as a type.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::{ConfigError, Location, Problem};
use crate::nearest::nearest;
use crate::read::{Fault, Reader};
use crate::schema::shape;
use crate::tree::{Data, Table};

/// One table of a document.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Dotted path, empty at the top level.
    name: String,
    table: &'a Table,
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
        match self
            .table
            .entries
            .iter()
            .find(|entry| !known.contains(&entry.key.as_str()))
        {
            None => Ok(()),
            Some(entry) => Err(ConfigError::at(
                &entry.location,
                Problem::UnknownKey {
                    nearest: nearest(&entry.key, known.iter().copied()),
                    key: entry.key.clone(),
                    section: self.name.clone(),
                    known: known.iter().map(|key| (*key).to_owned()).collect(),
                },
            )),
        }
    }

    /// Reads the keys that `T` has; others are left to whoever reads them ([`Section::check_keys`]).
    ///
    /// # Errors
    /// The first value of a wrong type, unknown key of a table below, missing key, or value that is out of its range.
    pub fn read<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, ConfigError> {
        let shape = shape::<T>();
        let value =
            T::deserialize(Reader::of(self.table, shape.keys)).map_err(|fault| self.told(fault))?;
        shape.check(self)?;
        Ok(value)
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
        let location = self
            .table
            .get(key)
            .map_or(self.location, |entry| &entry.location);
        let problem = Problem::Invalid {
            key: key.to_owned(),
            section: self.name.clone(),
            problem: problem.into(),
        };
        ConfigError::at(location, problem)
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

    fn location_of(&self, key: &str) -> &Location {
        self.table
            .get(key)
            .map_or(self.location, |entry| &entry.value.location)
    }

    /// A reader's fault with its place.
    fn told(&self, mut fault: Fault) -> ConfigError {
        if fault.path.len() > fault.problem.depth() {
            let key = fault.path.remove(0);
            return match self.table(&key) {
                Ok(Some(section)) => section.told(fault),
                // The way goes through something that is no table, such as a list: its own place is the nearest.
                _ => self.invalid(&key, fault.problem.to_string()),
            };
        }
        let key = fault.path.pop().unwrap_or_default();
        let section = self.name.clone();
        match fault.problem {
            crate::read::Trouble::Unknown { key, known } => {
                let location = self
                    .table
                    .get(&key)
                    .map_or(self.location, |entry| &entry.location);
                let problem = Problem::UnknownKey {
                    nearest: nearest(&key, known.iter().copied()),
                    key,
                    section,
                    known: known.iter().map(|key| (*key).to_owned()).collect(),
                };
                ConfigError::at(location, problem)
            }
            crate::read::Trouble::Missing { key } => self.missing(key, "a value".to_owned()),
            crate::read::Trouble::Wrong(wrong) => {
                let problem = Problem::WrongType {
                    key: key.clone(),
                    section,
                    nearest: (wrong.typed.as_deref())
                        .and_then(|typed| nearest(typed, wrong.words.iter().copied())),
                    expected: wrong.expected,
                    found: wrong.found.unwrap_or_else(|| "this value".to_owned()),
                };
                ConfigError::at(self.location_of(&key), problem)
            }
            crate::read::Trouble::Invalid(problem) => self.invalid(&key, problem),
        }
    }
}
