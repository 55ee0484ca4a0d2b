//! A small table.

use serde_json::Value;

/// Rows under named columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it shows; also the name that it is asked for by.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one number, text or null a column.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    pub(super) fn new(title: &str, columns: &[&str], rows: Vec<Vec<Value>>) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self {
            title: title.to_owned(),
            columns,
            rows,
        }
    }
}

/// A number with so many decimals.
pub(super) fn rounded(value: f64, decimals: i32) -> Value {
    let scale = 10f64.powi(decimals);
    Value::from((value * scale).round() / scale)
}
