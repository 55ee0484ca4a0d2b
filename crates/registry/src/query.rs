//! Questions in SQL.

use std::fmt;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow, SqliteValueRef};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Decode, Executor, Row, SqlSafeStr, Sqlite,
    SqliteConnection, Statement, TypeInfo, ValueRef,
};

use crate::database::{Registry, read_only};
use crate::error::RegistryError;

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryTable {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Rows of as many values.
    pub rows: Vec<Vec<SqlValue>>,
}

/// A value as SQLite holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SqlValue {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl fmt::Display for SqlValue {
    /// Null as nothing, bytes as hexadecimal digits, everything else as it is.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Integer(number) => number.fmt(formatter),
            Self::Real(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
            Self::Blob(bytes) => bytes
                .iter()
                .try_for_each(|byte| write!(formatter, "{byte:02x}")),
        }
    }
}

impl Registry {
    /// Answers one statement, `SELECT`, `WITH` or `PRAGMA`, through a connection of its own that
    /// cannot write, however the registry itself was opened.
    pub async fn query(&self, sql: &str) -> Result<QueryTable, RegistryError> {
        let options: SqliteConnectOptions = read_only(&self.path);
        let mut connection = options.connect().await.map_err(RegistryError::Query)?;
        let answer = answer(&mut connection, sql)
            .await
            .map_err(RegistryError::Query);
        connection.close().await.map_err(RegistryError::Query)?;
        answer
    }
}

async fn answer(connection: &mut SqliteConnection, sql: &str) -> Result<QueryTable, sqlx::Error> {
    // The user's own SQL is the point; the connection is what makes it safe.
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    let statement = connection.prepare(sql).await?;
    let columns = statement
        .columns()
        .iter()
        .map(|column| column.name().to_owned())
        .collect();
    let rows = statement.query().fetch_all(connection).await?;
    let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
    Ok(QueryTable { columns, rows })
}

fn values(row: &SqliteRow) -> Result<Vec<SqlValue>, sqlx::Error> {
    (0..row.len())
        .map(|index| value(row.try_get_raw(index)?).map_err(sqlx::Error::Decode))
        .collect()
}

fn value(raw: SqliteValueRef<'_>) -> Result<SqlValue, sqlx::error::BoxDynError> {
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    // A column's declared type may promise something else: the value's own type decides.
    Ok(match raw.type_info().name() {
        "REAL" => SqlValue::Real(<f64 as Decode<Sqlite>>::decode(raw)?),
        "TEXT" => SqlValue::Text(<String as Decode<Sqlite>>::decode(raw)?),
        "BLOB" => SqlValue::Blob(<Vec<u8> as Decode<Sqlite>>::decode(raw)?),
        _ => SqlValue::Integer(<i64 as Decode<Sqlite>>::decode(raw)?),
    })
}
