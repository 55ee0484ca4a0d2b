//! The one place that prints results and errors.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
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
        exact_line(&self.text(format))
    }

    /// The rows as they are printed, without the last line's end.
    pub(crate) fn text(&self, format: Format) -> String {
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
        table.set_header(self.columns.iter().map(|column| cut(&printable(column))));
        for row in &self.rows {
            table.add_row(row.iter().map(|value| cut(&printable(&cell(value)))));
        }
        table.to_string()
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(&self.objects()).expect("rows are plain data")
    }

    /// One JSON object a row.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let names = field_names(&self.columns);
        self.rows
            .iter()
            .map(|row| {
                let fields = names.iter().cloned().zip(row.iter().cloned());
                Value::Object(fields.collect::<Map<String, Value>>())
            })
            .collect()
    }

    fn csv(&self) -> String {
        let names = field_names(&self.columns);
        let fields: Vec<String> = names.iter().map(|field| quoted(field)).collect();
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
            self.console.exact_result(gathered.text(self.format));
        }
        self.console.conclude(end)
    }
}

/// Columns as programs read them: `images seen` is `images_seen`, and the second of a name is `NAME_2`.
pub(crate) fn field_names(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    let mut taken = HashSet::with_capacity(columns.len());
    for column in columns {
        let name = column.replace(' ', "_");
        let mut free = name.clone();
        let mut number = 2_u32;
        while !taken.insert(free.clone()) {
            free = format!("{name}_{number}");
            number += 1;
        }
        names.push(free);
    }
    names
}

/// The longest text of a cell of a table, in characters; programs get all of it.
const MOST_CELL_CHARACTERS: usize = 4000;

/// A text for people of which the end may be missing.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CELL_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value as it stands in a table.
pub(crate) fn cell(value: &Value) -> String {
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
            // What is no length of time, in a record that somebody has changed, is shown as it is.
            match Duration::try_from_secs_f64(seconds.max(0.0)) {
                Ok(length) => Value::from(progress::duration(length)),
                Err(_) => Value::from(format!("{seconds} s")),
            }
        }
        seconds => Value::from(seconds),
    }
}

/// A score, or its deviation, for people: with so many decimals, and of small values as many more as show four digits.
pub(crate) fn score_text(value: f64, decimals: u8) -> String {
    // What would need more is rounding.
    const MOST_DECIMALS: u8 = 12;
    let shows_four_digits =
        |decimals: &u8| value.abs() * 10_f64.powi(i32::from(*decimals)) >= 1000.0;
    let needed = (decimals..=MOST_DECIMALS).find(shows_four_digits);
    let decimals = usize::from(needed.unwrap_or(decimals));
    format!("{value:.decimals$}")
}

/// A field of a CSV line (RFC 4180).
pub(crate) fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A text for a terminal: what would control it, or change the order of what is read, is shown and does nothing.
///
/// Names of files, tensors and classes, and what a worker says, may hold anything.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let acts = |character: char| match character {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Prints a line of a result for people. A reader that has read enough, such as `head`, ends the program quietly.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    exact_line(&printable(text))
}

/// Prints a line, or several, of a result for programs: to the byte.
pub(crate) fn exact_line(text: &str) -> Result<(), CliError> {
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
    let _ = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// Asks a person something, who answers on the same line.
pub(crate) fn prompt(text: &str) {
    let mut stream = io::stderr().lock();
    let _ = write!(stream, "{} ", printable(text));
    let _ = stream.flush();
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
    fn what_would_control_a_terminal_is_shown() {
        for (text, shown) in [
            (
                "plain\ttext\nof two lines, ü, 図",
                "plain\ttext\nof two lines, ü, 図",
            ),
            ("\u{1b}[2Jgone\u{7}", "\\u{1b}[2Jgone\\u{7}"),
            ("a\rb\u{9b}31m", "a\\rb\\u{9b}31m"),
            ("gnp.\u{202e}exe", "gnp.\\u{202e}exe"),
        ] {
            assert_eq!(printable(text), shown);
        }
        let rows = Rows::from_parts(vec!["\u{1b}]0;x".to_owned()], vec![vec!["\u{1b}c".into()]]);
        assert!(!rows.text(Format::Table).contains('\u{1b}'));
        // Programs get the text as it is.
        assert!(rows.text(Format::Csv).contains("\u{1b}c"));
        assert!(rows.text(Format::Json).contains("\\u001bc"));
    }

    #[test]
    fn small_scores_show_four_digits_and_others_their_usual_decimals() {
        for (value, decimals, expected) in [
            (178.2449, 2, "178.24"),
            (2.973, 2, "2.973"),
            (0.001_234_56, 2, "0.001235"),
            (-0.000_432_1, 3, "-0.0004321"),
            (12.3456, 3, "12.346"),
            (1e-13, 3, "0.000"),
            (0.623_47, 2, "0.6235"),
            (1.0, 2, "1.000"),
            (0.0, 4, "0.0000"),
        ] {
            let text = score_text(value, decimals);
            assert_eq!(text, expected, "{value}");
        }
    }
}
