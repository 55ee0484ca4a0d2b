//! The shape of a picture made of many, as it is typed: `10x10`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Columns and rows of a picture made of many. Written `COLUMNSxROWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grid {
    /// At least 1.
    pub columns: u32,
    /// At least 1.
    pub rows: u32,
}

impl fmt::Display for Grid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.columns, self.rows)
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text
            .split_once('x')
            .map(|(columns, rows)| (columns.parse(), rows.parse()));
        match sides {
            Some((Ok(columns), Ok(rows)))
                if (1..=100).contains(&columns) && (1..=100).contains(&rows) =>
            {
                Ok(Self { columns, rows })
            }
            _ => Err(format!(
                "must be columns and rows such as `10x10`, each 1 to 100, not `{text}`"
            )),
        }
    }
}

impl TryFrom<String> for Grid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Grid> for String {
    fn from(grid: Grid) -> Self {
        grid.to_string()
    }
}

impl JsonSchema for Grid {
    fn schema_name() -> Cow<'static, str> {
        "Grid".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]{1,3}x[0-9]{1,3}$"})
    }
}
