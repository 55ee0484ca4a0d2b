//! The results of several runs, one after another.

use std::process::ExitCode;

use super::rows::Rows;
use crate::arguments::Format;
use crate::console::Console;
use crate::error::CliError;

/// The results of runs: a table for each as soon as it ends, for people; one listing of all at the end, for programs.
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

    /// Where the runs report their progress.
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
