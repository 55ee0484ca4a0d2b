//! Moments and lengths of time, for people.

use std::io::{self, IsTerminal};
use std::time::Duration;

use patchwork_artifacts::Timestamp;

/// Times that lie further back are dates.
const RELATIVE: Duration = Duration::from_hours(24 * 30);

/// A duration in its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.1} s", duration.as_secs_f64()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// A moment of a record, which is RFC 3339 in UTC: how long ago on a terminal, to the second elsewhere.
pub(crate) fn moment(recorded: &str) -> String {
    match recorded.parse::<Timestamp>() {
        Ok(moment) if io::stdout().is_terminal() => ago(moment, Timestamp::now()),
        Ok(moment) => {
            let text = moment.to_string().replace('T', " ");
            let seconds = text.split('.').next().unwrap_or_default();
            format!("{seconds} UTC")
        }
        // What is not a time, in a record that somebody has changed, is shown as it is.
        Err(_) => recorded.to_owned(),
    }
}

/// `3 h ago`, in the largest unit; the day of what is long ago, or to come.
fn ago(moment: Timestamp, now: Timestamp) -> String {
    let passed = now.milliseconds() - moment.milliseconds();
    let passed = u64::try_from(passed).map(Duration::from_millis);
    match passed {
        Ok(passed) if passed < RELATIVE => {
            let text = duration(passed);
            let mut words = text.split(' ');
            match (passed.as_secs(), words.next(), words.next()) {
                (1.., Some(number), Some(unit)) => format!("{number} {unit} ago"),
                _ => "now".to_owned(),
            }
        }
        _ => moment.to_string().chars().take(10).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_its_largest_unit() {
        let now = Timestamp::from_milliseconds(1_769_860_800_000);
        for (seconds, expected) in [
            (0, "now"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (3 * 3600 + 10, "3 h ago"),
            (86_400 * 2, "2 d ago"),
            (86_400 * 31, "2025-12-31"),
            (-86_400, "2026-02-01"),
        ] {
            let moment = Timestamp::from_milliseconds(now.milliseconds() - 1000 * seconds);
            assert_eq!(ago(moment, now), expected);
        }
    }
}
