//! Values of a table: for people, and for programs.

use std::time::Duration;

use serde_json::Value;

use super::moments;
use crate::arguments::Format;

/// A length of time: for people in a table, in seconds for programs.
pub(crate) fn duration(seconds: Option<f64>, format: Format) -> Value {
    match seconds {
        Some(seconds) if format == Format::Table => {
            // What is not a length of time, in a record that somebody has changed, is shown as it is.
            match Duration::try_from_secs_f64(seconds.max(0.0)) {
                Ok(length) => Value::from(moments::duration(length)),
                Err(_) => Value::from(format!("{seconds} s")),
            }
        }
        seconds => Value::from(seconds),
    }
}

/// A moment of a record: for people in a table, RFC 3339 for programs.
pub(crate) fn moment(recorded: &str, format: Format) -> Value {
    match format {
        Format::Table => Value::from(moments::moment(recorded)),
        Format::Json | Format::Csv => Value::from(recorded),
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

#[cfg(test)]
mod tests {
    use super::*;

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
