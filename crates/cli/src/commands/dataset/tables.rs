//! `patchwork dataset inspect` and `stats`: several tables, or one of them.

use patchwork_dataset::inspect::{Table, inspect, stats};
use serde_json::{Map, Value};

use crate::arguments::{Format, TablesArguments};
use crate::error::CliError;
use crate::output::{Rows, line};

/// The most rows of a table that people are shown; the other formats have all.
const MOST_ROWS: usize = 20;

pub(super) fn print_inspection(choice: &TablesArguments) -> Result<(), CliError> {
    print(inspect(&choice.folder)?.into(), choice)
}

pub(super) fn print_statistics(choice: &TablesArguments) -> Result<(), CliError> {
    print(stats(&choice.folder)?.into(), choice)
}

fn print(mut tables: Vec<Table>, choice: &TablesArguments) -> Result<(), CliError> {
    if let Some(wanted) = &choice.table {
        let known = names(&tables);
        tables.retain(|table| name(table) == *wanted);
        let Some(table) = tables.pop() else {
            return Err(CliError::NoTable {
                table: wanted.clone(),
                known,
            });
        };
        return rows(table).print(choice.format);
    }
    match choice.format {
        Format::Table => tables.into_iter().try_for_each(print_for_people),
        // One document: an object with each table under its name.
        Format::Json => {
            let all: Map<String, Value> = tables
                .into_iter()
                .map(|table| (name(&table), Value::Array(rows(table).objects())))
                .collect();
            line(&serde_json::to_string_pretty(&all).expect("tables are plain data"))
        }
        Format::Csv => Err(CliError::OneTable {
            known: names(&tables),
        }),
    }
}

/// A table's title as it is typed and read by programs: `source sizes` is `source_sizes`.
fn name(table: &Table) -> String {
    table.title.replace(' ', "_")
}

fn names(tables: &[Table]) -> String {
    let names: Vec<String> = tables.iter().map(name).collect();
    names.join("`, `")
}

fn print_for_people(mut table: Table) -> Result<(), CliError> {
    let all = table.rows.len();
    table.rows.truncate(MOST_ROWS);
    match all {
        0 => return line(&format!("{}: none", table.title)),
        1..=MOST_ROWS => line(&table.title)?,
        _ => line(&format!("{}: the first {MOST_ROWS} of {all}", table.title))?,
    }
    rows(table).print(Format::Table)
}

fn rows(table: Table) -> Rows {
    Rows::from_parts(table.columns, table.rows)
}
