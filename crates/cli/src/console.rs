//! The side of a command that faces its user, through all the runs that it carries out: what it prints, and the signals
//! that ask it to stop.

use std::borrow::Cow;
use std::process::ExitCode;

use patchwork_supervisor::Signals;
use patchwork_supervisor::observer::Caller;

use crate::error::CliError;
use crate::output::lines::{self, printable};
use crate::printer::Printer;

pub(crate) struct Console {
    printer: Printer,
    /// None before the first run: as long as there is nothing to bring to its end, a signal ends the program.
    signals: Option<Signals>,
}

impl Console {
    pub(crate) fn start() -> Self {
        Self {
            printer: Printer::start(),
            signals: None,
        }
    }

    /// Prints a part of the result, one line or several.
    pub(crate) fn result(&self, text: String) {
        self.printer.result(match printable(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(shown) => shown,
        });
    }

    /// Prints a result for programs: to the byte.
    pub(crate) fn exact_result(&self, text: String) {
        self.printer.result(text);
    }

    /// Prints a remark that is not a result.
    pub(crate) fn remark(&self, text: String) {
        self.printer.remark(text);
    }

    /// Ends the command where a signal has come since its last run.
    pub(crate) async fn check_signals(&mut self) -> Result<(), CliError> {
        let heard = match &mut self.signals {
            Some(signals) => signals.heard().await,
            None => None,
        };
        heard.map_or(Ok(()), |signal| Err(CliError::Stopped { signal }))
    }

    /// How a run reports its progress and receives signals.
    pub(crate) fn caller(&mut self) -> Result<Caller<'_>, CliError> {
        let signals = match self.signals.take() {
            Some(signals) => signals,
            None => Signals::listen()?,
        };
        Ok(Caller {
            observer: &mut self.printer,
            signals: self.signals.insert(signals),
        })
    }

    /// Waits until everything is printed.
    pub(crate) fn finish(self) -> Result<(), CliError> {
        self.printer.finish()
    }

    /// The same, with what came of the command. That a result could not be printed is its end only where all else went
    /// well.
    pub(crate) fn conclude(self, end: Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
        match (self.finish(), end) {
            (Err(error), Ok(code)) if code == ExitCode::SUCCESS => Err(error),
            (printed, end) => {
                if let Err(error) = printed {
                    lines::error(&error);
                }
                end
            }
        }
    }
}
