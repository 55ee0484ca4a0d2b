//! The one place that prints: lines of results, remarks, errors.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::error::CliError;

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

/// Prints a remark that is not a result.
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
    }
}
