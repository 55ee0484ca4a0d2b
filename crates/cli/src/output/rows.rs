//! Rows under named columns, printed for people or for programs.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::lines::{exact_line, printable};
use super::table;
use crate::arguments::Format;
use crate::error::CliError;

/// Rows under named columns.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn from_parts(columns: Vec<String>, rows: Vec<Vec<Value>>) -> Self {
        Self { columns, rows }
    }

    /// Tables of the same columns in one, whose first column says of which table a row is.
    pub(crate) fn stacked(tables: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let mut stacked = Self::new(&["table"]);
        for (name, table) in tables {
            stacked.columns.truncate(1);
            stacked.columns.extend(table.columns);
            for row in table.rows {
                stacked.push([vec![Value::from(name)], row].concat());
            }
        }
        stacked
    }

    pub(crate) fn push(&mut self, row: Vec<Value>) {
        self.rows.push(row);
    }

    /// Prints the rows.
    pub(crate) fn print(&self, format: Format) -> Result<(), CliError> {
        exact_line(&self.text(format))
    }

    /// The rows as they are printed, without the last line's end.
    pub(crate) fn text(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Csv => self.csv(),
        }
    }

    fn table(&self) -> String {
        let shown = |text: &str| cut(&printable(text));
        let header: Vec<String> = self.columns.iter().map(|column| shown(column)).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().map(|value| shown(&cell(value)));
            cells.collect()
        });
        table::table(&header, &rows.collect::<Vec<Vec<String>>>())
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(&self.objects()).expect("rows are plain data")
    }

    /// One JSON object a row.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let names = field_names(&self.columns);
        self.rows
            .iter()
            .map(|row| {
                let fields = names.iter().cloned().zip(row.iter().cloned());
                Value::Object(fields.collect::<Map<String, Value>>())
            })
            .collect()
    }

    fn csv(&self) -> String {
        let names = field_names(&self.columns);
        let fields: Vec<String> = names.iter().map(|field| quoted(field)).collect();
        let mut lines = vec![fields.join(",")];
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|value| quoted(&cell(value))).collect();
            lines.push(cells.join(","));
        }
        lines.join("\n")
    }
}

/// Columns as programs read them: `images seen` is `images_seen`, and the second of a name is `NAME_2`.
pub(crate) fn field_names(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    let mut taken = HashSet::with_capacity(columns.len());
    for column in columns {
        let name = column.replace(' ', "_");
        let mut free = name.clone();
        let mut number = 2_u32;
        while !taken.insert(free.clone()) {
            free = format!("{name}_{number}");
            number += 1;
        }
        names.push(free);
    }
    names
}

/// The longest text of a cell of a table, in characters; programs get all of it.
const MOST_CELL_CHARACTERS: usize = 4000;

/// A text for people of which the end may be missing.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CELL_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value as it stands in a table.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field of a CSV line (RFC 4180).
pub(crate) fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_control_a_terminal_is_for_programs_alone() {
        let rows = Rows::from_parts(vec!["\u{1b}]0;x".to_owned()], vec![vec!["\u{1b}c".into()]]);
        assert!(!rows.text(Format::Table).contains('\u{1b}'));
        // Programs get the text as it is.
        assert!(rows.text(Format::Csv).contains("\u{1b}c"));
        assert!(rows.text(Format::Json).contains("\\u001bc"));
    }
}
