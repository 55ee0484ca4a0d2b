//! TOML as a tree in which every key and value remembers where it was typed, so that files can be
//! merged and errors still point at the right one.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Location, Problem};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) location: Location,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    /// No setting takes a date; its text is kept for messages.
    Date(String),
    List(Vec<Data>),
    Table(Table),
}

/// Keys in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key, its place, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) location: Location,
    pub(crate) value: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(position))
    }

    /// Lays `over` on this table: tables merge key by key, everything else is replaced.
    pub(crate) fn merge(&mut self, over: Table) {
        let places = self.entries.iter().enumerate();
        let mut places: HashMap<String, usize> = places
            .map(|(place, mine)| (mine.key.clone(), place))
            .collect();
        for entry in over.entries {
            let Some(place) = places.get(&entry.key) else {
                places.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
                continue;
            };
            let mine = &mut self.entries[*place];
            mine.location = entry.location;
            match (&mut mine.value.data, entry.value.data) {
                (Data::Table(below), Data::Table(above)) => {
                    below.merge(above);
                    mine.value.location = entry.value.location;
                }
                (_, data) => {
                    mine.value = Node {
                        data,
                        location: entry.value.location,
                    }
                }
            }
        }
    }
}

/// A value as a person would write it, for listings.
pub(crate) fn plain(value: &Data) -> String {
    match value {
        Data::Text(text) | Data::Date(text) => text.clone(),
        Data::List(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Turns byte offsets of one text into locations.
pub(crate) enum Places<'a> {
    /// A file and its text.
    File {
        path: Arc<Path>,
        text: &'a str,
        /// Where the lines begin: a file may have many, and every key and value has its place.
        lines: Vec<usize>,
    },
    /// An override: one place.
    Override(Arc<str>),
}

impl<'a> Places<'a> {
    pub(crate) fn of_file(path: Arc<Path>, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        Self::File {
            path,
            text,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    pub(crate) fn at(&self, offset: usize) -> Location {
        match self {
            Self::File { path, text, lines } => {
                let offset = if text.is_char_boundary(offset) {
                    offset
                } else {
                    text.len()
                };
                let line = lines.partition_point(|start| *start <= offset);
                Location::File {
                    path: Arc::clone(path),
                    line,
                    column: text[lines[line - 1]..offset].chars().count() + 1,
                }
            }
            Self::Override(text) => Location::Override(Arc::clone(text)),
        }
    }

    /// A parser's error at its place.
    pub(crate) fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        ConfigError::at(
            &self.at(offset),
            Problem::Syntax(error.message().to_owned()),
        )
    }

    pub(crate) fn table(&self, table: &DeTable<'_>) -> Result<Table, ConfigError> {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let entries = keys.into_iter().map(|(key, value)| {
            Ok(Entry {
                key: key.get_ref().to_string(),
                location: self.at(key.span().start),
                value: self.node(value.get_ref(), value.span().start)?,
            })
        });
        Ok(Table {
            entries: entries.collect::<Result<_, ConfigError>>()?,
        })
    }

    pub(crate) fn node(&self, value: &DeValue<'_>, offset: usize) -> Result<Node, ConfigError> {
        let location = self.at(offset);
        let out_of_range = |text: &dyn fmt::Display| {
            ConfigError::at(
                &location,
                Problem::Syntax(format!("`{text}` is out of range")),
            )
        };
        let data = match value {
            DeValue::String(text) => Data::Text(text.to_string()),
            DeValue::Integer(number) => Data::Integer(
                i64::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| out_of_range(number))?,
            ),
            DeValue::Float(number) => {
                Data::Number(number.as_str().parse().map_err(|_| out_of_range(number))?)
            }
            DeValue::Boolean(truth) => Data::Boolean(*truth),
            DeValue::Datetime(date) => Data::Date(date.to_string()),
            DeValue::Array(items) => {
                let items = items
                    .iter()
                    .map(|item| Ok(self.node(item.get_ref(), item.span().start)?.data));
                Data::List(items.collect::<Result<_, ConfigError>>()?)
            }
            DeValue::Table(table) => Data::Table(self.table(table)?),
        };
        Ok(Node { data, location })
    }
}

impl fmt::Display for Data {
    /// The value with its type, for messages: `the string "heun"`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "the string {text:?}"),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Number(number) => write!(formatter, "{number:?}"),
            Self::Boolean(truth) => write!(formatter, "{truth}"),
            Self::Date(date) => write!(formatter, "the date {date}"),
            Self::List(_) => formatter.write_str("this list"),
            Self::Table(_) => formatter.write_str("a table"),
        }
    }
}
