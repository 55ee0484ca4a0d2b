//! `patchwork query`: a question to the registry in SQL.

use std::path::Path;

use patchwork_registry::{Registry, SqlValue};
use serde_json::{Value, json};

use crate::arguments::QueryArguments;
use crate::error::CliError;
use crate::output::Rows;

pub(crate) async fn query(home: &Path, arguments: &QueryArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let table = registry.query(&arguments.sql).await?;
    let rows = table
        .rows
        .into_iter()
        .map(|row| row.into_iter().map(value).collect())
        .collect();
    Rows::from_parts(table.columns, rows).print(arguments.format)
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
