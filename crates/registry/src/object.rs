//! Rows as objects: a column is called as the field is, so that a fact is described once, where it is recorded.

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

/// A record's fields.
pub(crate) fn object(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a row is plain data with names"),
    }
}

/// Inserts a row into a table, `INSERT … INTO TABLE`; gives the row's key.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    insert_into: &'static str,
    row: Map<String, Value>,
) -> Result<i64, sqlx::Error> {
    let columns: Vec<&str> = row.keys().map(String::as_str).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let sql = format!("{insert_into} ({}) VALUES ({places})", columns.join(", "));
    let inserted = carry_out(connection, sql, [row]).await?;
    Ok(inserted)
}

/// Sets columns of the rows of a table that have the values `of`.
pub(crate) async fn update(
    connection: &mut SqliteConnection,
    table: &'static str,
    columns: Map<String, Value>,
    of: Map<String, Value>,
) -> Result<(), sqlx::Error> {
    let equal = |row: &Map<String, Value>, between| {
        let equal: Vec<String> = row.keys().map(|column| format!("{column} = ?")).collect();
        equal.join(between)
    };
    let sql = format!(
        "UPDATE {table} SET {} WHERE {}",
        equal(&columns, ", "),
        equal(&of, " AND ")
    );
    carry_out(connection, sql, [columns, of]).await?;
    Ok(())
}

/// Carries a statement out; gives the key of the row that was inserted last.
async fn carry_out<const N: usize>(
    connection: &mut SqliteConnection,
    sql: String,
    values: [Map<String, Value>; N],
) -> Result<i64, sqlx::Error> {
    // The names in it are those of this program's own types; what is recorded is bound.
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (_, value) in values.into_iter().flatten() {
        query = bind(query, value);
    }
    Ok(query.execute(connection).await?.last_insert_rowid())
}

fn bind(
    query: Query<'_, Sqlite, SqliteArguments>,
    value: Value,
) -> Query<'_, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Bool(flag) => query.bind(flag),
        Value::String(text) => query.bind(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => query.bind(whole),
            // More than SQLite counts to.
            (None, _) if number.is_u64() => query.bind(i64::MAX),
            (None, real) => query.bind(real),
        },
        nested @ (Value::Array(_) | Value::Object(_)) => query.bind(nested.to_string()),
    }
}
