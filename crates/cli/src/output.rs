//! The one place that prints results and errors.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use patchwork_registry::MetricFamily;
use serde_json::{Map, Value};

use crate::arguments::Format;
use crate::console::Console;
use crate::error::CliError;
use crate::progress;

/// Rows under named columns.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
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
        line(&self.text(format))
    }

    /// The rows as they are printed, without the last line's end.
    fn text(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Csv => self.csv(),
        }
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(cell));
        }
        table.to_string()
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(&self.objects()).expect("rows are plain data")
    }

    /// The columns as programs read them: `images seen` is `images_seen`.
    fn fields(&self) -> impl Iterator<Item = String> {
        self.columns.iter().map(|column| column.replace(' ', "_"))
    }

    /// One JSON object a row.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.rows
            .iter()
            .map(|row| {
                let fields: Map<String, Value> = self.fields().zip(row.iter().cloned()).collect();
                Value::Object(fields)
            })
            .collect()
    }

    fn csv(&self) -> String {
        let fields: Vec<String> = self.fields().map(|field| quoted(&field)).collect();
        let mut lines = vec![fields.join(",")];
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|value| quoted(&cell(value))).collect();
            lines.push(cells.join(","));
        }
        lines.join("\n")
    }
}

/// What runs came to, one after another: tables of the same columns for people, at once, and a single listing for
/// programs.
pub(crate) struct Report {
    format: Format,
    gathered: Option<Rows>,
    console: Console,
}

impl Report {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            gathered: None,
            console: Console::start(),
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Where the runs tell their news.
    pub(crate) fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    pub(crate) fn add(&mut self, rows: Rows) {
        if self.format == Format::Table {
            self.console.result(rows.text(Format::Table));
            return;
        }
        match &mut self.gathered {
            Some(gathered) => gathered.rows.extend(rows.rows),
            None => self.gathered = Some(rows),
        }
    }

    /// Prints what was gathered, and waits until everything is printed; `end` is what came of the command.
    pub(crate) fn conclude(self, end: Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
        if let Some(gathered) = self.gathered {
            self.console.result(gathered.text(self.format));
        }
        self.console.conclude(end)
    }
}

/// A value as it stands in a table.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A length of time: for people in a table, in seconds for programs.
pub(crate) fn duration(seconds: Option<f64>, format: Format) -> Value {
    match seconds {
        Some(seconds) if format == Format::Table => {
            let length = Duration::from_secs_f64(seconds.max(0.0));
            Value::from(progress::duration(length))
        }
        seconds => Value::from(seconds),
    }
}

/// A score, or its deviation, for people: a Fréchet distance with so many decimals; of the other metrics, whose values
/// may be small, as many more as it takes to show four digits.
pub(crate) fn score_text(metric: &str, value: f64, decimals: u8) -> String {
    // What would need more is rounding.
    const MOST_DECIMALS: u8 = 12;
    let shows_four_digits =
        |decimals: &u8| value.abs() * 10_f64.powi(i32::from(*decimals)) >= 1000.0;
    let needed = match MetricFamily::of(metric) {
        MetricFamily::Frechet => None,
        MetricFamily::Kernel | MetricFamily::Manifold => {
            (decimals..=MOST_DECIMALS).find(shows_four_digits)
        }
    };
    let decimals = usize::from(needed.unwrap_or(decimals));
    format!("{value:.decimals$}")
}

/// A field of a CSV line (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Prints a line of a result. A reader that has read enough, such as `head`, ends the program quietly.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CliError::Print)
}

/// Prints a text as it is.
pub(crate) fn text(bytes: &[u8]) -> Result<(), CliError> {
    io::stdout()
        .lock()
        .write_all(bytes)
        .map_err(CliError::Print)
}

/// Prints a remark that is no result.
pub(crate) fn remark(text: &str) {
    // Nothing is to be done for somebody who closed standard error.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error and its causes.
pub(crate) fn error(error: &CliError) {
    if let CliError::Print(cause) = error
        && cause.kind() == io::ErrorKind::BrokenPipe
    {
        return;
    }
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let message = cause.to_string();
        if !last.contains(&message) {
            text.push_str("\n  caused by: ");
            text.push_str(&message);
            last = message;
        }
        next = cause.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    remark(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_scores_show_four_digits_and_distances_their_usual_decimals() {
        for (metric, value, decimals, expected) in [
            ("fd_efficientnet_lite0", 178.2449, 2, "178.24"),
            ("fid", 0.001_234_56, 2, "0.00"),
            ("kid", 0.001_234_56, 2, "0.001235"),
            ("kd_tiny", -0.000_432_1, 3, "-0.0004321"),
            ("kid_clean", 12.3456, 3, "12.346"),
            ("kid", 1e-13, 3, "0.000"),
            ("recall", 0.623_47, 2, "0.6235"),
            ("coverage_tiny", 1.0, 2, "1.000"),
            ("precision", 0.0, 4, "0.0000"),
        ] {
            let text = score_text(metric, value, decimals);
            assert_eq!(text, expected, "{metric} {value}");
        }
    }
}
