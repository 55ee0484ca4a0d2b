//! Rows that are printed one by one, as they come: JSON and CSV of any length.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::arguments::Format;
use crate::output::{cell, field_names, quoted};

/// The printing of a listing for programs. What it prints is what [`Rows`](crate::output::Rows) prints.
pub(crate) struct Streamed<W> {
    output: W,
    format: Format,
    fields: Vec<String>,
    rows: u64,
}

impl<W: Write> Streamed<W> {
    pub(crate) fn new(output: W, format: Format) -> Self {
        Self {
            output,
            format,
            fields: Vec::new(),
            rows: 0,
        }
    }

    /// Begins with the columns.
    pub(crate) fn start(&mut self, columns: &[String]) -> io::Result<()> {
        self.fields = field_names(columns);
        if self.format == Format::Csv {
            let fields: Vec<String> = self.fields.iter().map(|field| quoted(field)).collect();
            writeln!(self.output, "{}", fields.join(","))?;
        }
        Ok(())
    }

    /// Prints a row of as many values.
    pub(crate) fn row(&mut self, values: impl Iterator<Item = Value>) -> io::Result<()> {
        if self.format == Format::Csv {
            let cells: Vec<String> = values.map(|value| quoted(&cell(&value))).collect();
            writeln!(self.output, "{}", cells.join(","))?;
        } else {
            let object: Map<String, Value> = self.fields.iter().cloned().zip(values).collect();
            let text = serde_json::to_string_pretty(&object).map_err(io::Error::from)?;
            let before = if self.rows == 0 { "[\n" } else { ",\n" };
            // A line's end is never inside of a text: there it is written as `\n`.
            write!(self.output, "{before}  {}", text.replace('\n', "\n  "))?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends the listing.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Json {
            let end = if self.rows == 0 { "[]" } else { "\n]" };
            writeln!(self.output, "{end}")?;
        }
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::Rows;

    #[test]
    fn row_by_row_it_is_what_it_is_at_once() {
        let columns = ["a b", "text", "text", "n"].map(str::to_owned).to_vec();
        let rows = [
            vec![json!(1), json!("x,\n\"y\""), json!(null), json!(0.5)],
            vec![json!(2), json!(""), json!("z"), json!(null)],
        ];
        for (format, count) in [
            (Format::Json, 2),
            (Format::Json, 0),
            (Format::Csv, 2),
            (Format::Csv, 0),
        ] {
            let rows = rows[..count].to_vec();
            let mut bytes = Vec::new();
            let mut streamed = Streamed::new(&mut bytes, format);
            streamed.start(&columns).unwrap();
            for row in rows.clone() {
                streamed.row(row.into_iter()).unwrap();
            }
            streamed.finish().unwrap();
            let at_once = Rows::from_parts(columns.clone(), rows).text(format);
            assert_eq!(String::from_utf8(bytes).unwrap(), at_once + "\n");
        }
    }
}
