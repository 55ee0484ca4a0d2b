//! Everything that was typed: files and overrides, merged.

use std::path::Path;
use std::sync::Arc;

use crate::error::{ConfigError, Location};
use crate::overrides::Override;
use crate::preset::{self, OverPreset};
use crate::section::Section;
use crate::tree::{Data, Entry, Node, Table};
use crate::{file, matrix, overrides};

/// A file over the presets that it extends, with overrides over both.
#[derive(Clone, Debug)]
pub struct Document {
    table: Table,
    /// Where what is missing belongs.
    start: Location,
    overrides: Vec<String>,
    /// What `extends` says, and the preset.
    preset: Option<(String, Table)>,
}

/// One combination of a matrix.
#[derive(Clone, Debug)]
pub struct Combination {
    /// Dotted keys and their values as text; empty where there is no matrix.
    pub values: Vec<(String, String)>,
    /// The document with these values.
    pub document: Document,
}

impl Document {
    /// Reads a file and all that it extends.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file::Layers { merged, preset } = file::read(path)?;
        Ok(Self {
            table: merged,
            preset,
            start: Location::File {
                path: Arc::from(path),
                line: 1,
                column: 1,
            },
            overrides: Vec::new(),
        })
    }

    /// A document without a file, in which a command looks for the table at `path` and finds it empty.
    pub fn of_command(command: &str, path: &[&str]) -> Self {
        let start = Location::Command(Arc::from(command));
        let table = path
            .iter()
            .rev()
            .fold(Table::default(), |table, key| Table {
                entries: vec![Entry {
                    key: (*key).to_owned(),
                    location: start.clone(),
                    value: Node {
                        data: Data::Table(table),
                        location: start.clone(),
                    },
                }],
            });
        Self {
            table,
            start,
            overrides: Vec::new(),
            preset: None,
        }
    }

    /// Lays an override, `KEY=VALUE` with a dotted key, over what was typed so far.
    pub fn set(&mut self, text: &str) -> Result<(), ConfigError> {
        self.lay(&Override::set(text))
    }

    /// The same, of an override that was typed in another way than by `--set`.
    pub fn lay(&mut self, laid: &Override) -> Result<(), ConfigError> {
        overrides::apply(&mut self.table, laid)?;
        self.overrides.push(laid.text.clone());
        Ok(())
    }

    /// Every combination of the values in `[matrix]`, the last key varying fastest; the document itself where there is
    /// none.
    pub fn combinations(self) -> Result<Vec<Combination>, ConfigError> {
        let combinations = matrix::combinations(self.table, &self.overrides)?;
        let combination = |(values, table)| Combination {
            values,
            document: Self {
                table,
                start: self.start.clone(),
                overrides: self.overrides.clone(),
                preset: self.preset.clone(),
            },
        };
        Ok(combinations.into_iter().map(combination).collect())
    }

    /// What the document says otherwise than the preset that its file extends; none where it extends none.
    pub fn over_preset(&self) -> Option<OverPreset> {
        let (file, preset) = self.preset.as_ref()?;
        Some(OverPreset {
            file: file.clone(),
            changed: preset::changed(&self.table, preset),
        })
    }

    /// The top level.
    pub fn root(&self) -> Section<'_> {
        Section::new(String::new(), &self.table, &self.start)
    }
}
