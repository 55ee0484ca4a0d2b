//! `patchwork query`: a question to the registry in SQL.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use patchwork_registry::{Answer, Registry, SqlValue};
use serde_json::{Value, json};

use crate::arguments::{Format, QueryArguments};
use crate::error::CliError;
use crate::output::{Rows, remark};
use crate::streamed::Streamed;

/// A table has so many rows at most: it is laid out as a whole, and read by people.
const MOST_TABLE_ROWS: usize = 10_000;

pub(crate) async fn query(home: &Path, arguments: &QueryArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let time = Duration::from_secs(arguments.timeout.into());
    let sql = &arguments.sql;
    match arguments.format {
        Format::Table => print_table(&registry, sql, time),
        Format::Json | Format::Csv => {
            let output = BufWriter::new(io::stdout().lock());
            print_streamed(
                &registry,
                sql,
                time,
                Streamed::new(output, arguments.format),
            )
        }
    }
}

fn print_table(registry: &Registry, sql: &str, time: Duration) -> Result<(), CliError> {
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    let mut is_cut = false;
    registry.ask(sql, time, &mut |part| {
        match part {
            Answer::Columns(names) => columns = names,
            Answer::Row(_) if rows.len() == MOST_TABLE_ROWS => {
                is_cut = true;
                return ControlFlow::Break(());
            }
            Answer::Row(row) => rows.push(row.into_iter().map(value).collect()),
        }
        ControlFlow::Continue(())
    })?;
    Rows::from_parts(columns, rows).print(Format::Table)?;
    if is_cut {
        remark(&format!(
            "these are the first {MOST_TABLE_ROWS} rows; `--format csv` or `--format json` prints all"
        ));
    }
    Ok(())
}

/// Prints each row when it comes. What goes wrong after the first of them is reported after them.
fn print_streamed(
    registry: &Registry,
    sql: &str,
    time: Duration,
    mut output: Streamed<impl Write>,
) -> Result<(), CliError> {
    let mut printed = Ok(());
    let asked = registry.ask(sql, time, &mut |part| {
        printed = match part {
            Answer::Columns(columns) => output.start(&columns),
            Answer::Row(row) => output.row(row.into_iter().map(value)),
        };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    printed.map_err(CliError::Print)?;
    // Half of an answer is no JSON: it must not be taken for all of it.
    asked?;
    output.finish().map_err(CliError::Print)
}

fn value(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => json!(number),
        SqlValue::Real(number) => json!(number),
        SqlValue::Text(text) => Value::String(text),
        blob @ SqlValue::Blob(_) => Value::String(blob.to_string()),
    }
}
