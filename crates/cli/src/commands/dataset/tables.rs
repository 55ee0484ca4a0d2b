//! `patchwork dataset inspect` and `stats`: several tables, or one of them.

use std::path::Path;

use patchwork_config::Override;
use patchwork_dataset::inspect::{Table, inspect, inspect_source, stats};
use patchwork_dataset::shards::is_prepared;
use patchwork_recipes::prepare::source::{Places, open_source};
use patchwork_recipes::{SpecifyError, StageSettings, load_stage};
use patchwork_terms::Kind;
use serde_json::{Map, Value, json};

use crate::arguments::{Format, InspectDatasetArguments, TablesArguments};
use crate::error::CliError;
use crate::output::{Rows, exact_line, line};

/// The most rows of a table that people are shown; the other formats have all.
const MOST_ROWS: usize = 20;

/// Tables of a prepared data set, or of a raw source.
pub(super) fn print_inspection(
    home: &Path,
    arguments: &InspectDatasetArguments,
) -> Result<(), CliError> {
    let choice = &arguments.tables;
    if is_prepared(&choice.folder) && arguments.set.is_empty() {
        return print(inspect(&choice.folder)?.into(), choice);
    }
    let tables = raw_tables(home, &choice.folder.to_string_lossy(), &arguments.set)?;
    print(tables, choice)
}

fn raw_tables(home: &Path, source: &str, set: &[String]) -> Result<Vec<Table>, CliError> {
    // A JSON string is a TOML string too. The images are not scaled: any resolution does.
    let mut settings = vec![
        Override::option(format!("source={}", json!(source)), source.to_owned()),
        Override::set("resolution=64"),
    ];
    settings.extend(set.iter().map(|text| Override::set(text)));
    let single = load_stage(Kind::Prepare, Kind::Prepare.name(), None, &settings, &[])?;
    let StageSettings::Prepare(settings) = &single.stage.settings else {
        unreachable!("it was read as the settings of a prepare stage")
    };
    let failed = |source| SpecifyError::Source {
        stage: single.stage.name.clone(),
        source: Box::new(source),
    };
    // Nothing is written for a look: a home that is not there is not made.
    let places = if home.is_dir() {
        Places::of_home(home)
    } else {
        Places::default()
    };
    let source = open_source(settings, &places, false).map_err(failed)?;
    Ok(inspect_source(source.as_ref()).map_err(failed)?.into())
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
            exact_line(&serde_json::to_string_pretty(&all).expect("tables are plain data"))
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
