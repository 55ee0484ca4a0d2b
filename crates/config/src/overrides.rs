//! `--set stages.train.batch_size=64`: one value laid over the files.

use std::sync::Arc;

use toml::de::DeValue;

use crate::error::{ConfigError, Location, Problem};
use crate::nearest::nearest;
use crate::tree::{Data, Entry, Node, Places, Table};

/// A value laid over the files, and how it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// `KEY=VALUE`, the key dotted.
    pub text: String,
    /// As a person typed it, for messages: `--set KEY=VALUE`, `--seeds 0-9`.
    pub typed: String,
}

impl Override {
    /// What stands behind `--set`.
    pub fn set(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            typed: format!("--set {text}"),
        }
    }

    /// What an option of its own stands for: `--seeds 0-9` for `seeds="0-9"`.
    pub fn option(text: String, typed: String) -> Self {
        Self { text, typed }
    }
}

/// Lays an override over `table`.
pub(crate) fn apply(table: &mut Table, laid: &Override) -> Result<(), ConfigError> {
    let Override { text, typed } = laid;
    let shared: Arc<str> = Arc::from(typed.as_str());
    let location = Location::Override(Arc::clone(&shared));
    let refuse = |problem: &str| ConfigError::at(&location, Problem::Override(problem.to_owned()));
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| refuse("no `=` between key and value"))?;
    lay(table, path, parse(value.trim(), shared)?, &location)
}

/// Lays one value over `table`, at a dotted key that was typed at `location`.
pub(crate) fn lay(
    table: &mut Table,
    path: &str,
    data: Data,
    location: &Location,
) -> Result<(), ConfigError> {
    let refuse = |problem: &str| ConfigError::at(location, Problem::Override(problem.to_owned()));
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(refuse("a part of the key is empty"));
    }
    if keys == ["extends"] {
        return Err(refuse(
            "`extends` cannot be overridden: it says which files are read",
        ));
    }
    check_stage(table, &keys, location)?;

    let mut node = Node {
        data,
        location: location.clone(),
    };
    for key in keys.iter().skip(1).rev() {
        let entry = Entry {
            key: (*key).to_owned(),
            location: location.clone(),
            value: node,
        };
        node = Node {
            data: Data::Table(Table {
                entries: vec![entry],
            }),
            location: location.clone(),
        };
    }
    let key = keys[0].to_owned();
    table.merge(Table {
        entries: vec![Entry {
            key,
            location: location.clone(),
            value: node,
        }],
    });
    Ok(())
}

/// An override changes a stage and never adds one, so that a misspelt stage is not taken for new.
fn check_stage(table: &Table, keys: &[&str], location: &Location) -> Result<(), ConfigError> {
    let ["stages", stage, ..] = keys else {
        return Ok(());
    };
    let Some(Data::Table(stages)) = table.get("stages").map(|entry| &entry.value.data) else {
        return Ok(());
    };
    if stages.get(stage).is_some() {
        return Ok(());
    }
    let names = || stages.entries.iter().map(|entry| entry.key.as_str());
    let problem = Problem::UnknownKey {
        key: (*stage).to_owned(),
        section: "stages".to_owned(),
        nearest: nearest(stage, names()),
        known: names().map(str::to_owned).collect(),
    };
    Err(ConfigError::at(location, problem))
}

/// A TOML value; a bare word that is none, such as `heun` or `data/celeba`, is a string.
fn parse(value: &str, text: Arc<str>) -> Result<Data, ConfigError> {
    let places = Places::Override(text);
    match DeValue::parse(value) {
        Ok(parsed) => Ok(places.node(parsed.get_ref(), 0)?.data),
        Err(error) if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) => {
            Err(places.syntax_error(&error))
        }
        Err(_) => Ok(Data::Text(value.to_owned())),
    }
}
