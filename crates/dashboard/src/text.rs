//! Numbers and times for people.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// `3 s ago`, `5 min ago`, `2 h ago`, `3 d ago`; the time itself where it cannot be read.
pub(crate) fn ago(time: &str) -> String {
    let Ok(moment) = time.parse::<Timestamp>() else {
        return time.to_owned();
    };
    let seconds = Timestamp::now().duration_since(moment);
    if seconds < SignedDuration::ZERO {
        return time.to_owned();
    }
    format!("{} ago", span(seconds.as_secs()))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `42 s`, `7 min 05 s`, `3 h 12 min`, `6 d 2 h`.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) else {
        return "–".to_owned();
    };
    let whole = seconds.round() as i64;
    match whole {
        ..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..172_800 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Four digits, or as many as a whole number has.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    let size = value.abs();
    if !value.is_finite() {
        value.to_string()
    } else if size >= 1000.0 {
        grouped(value.round() as i64)
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else if size >= 0.001 || size == 0.0 {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

/// `36,000`.
pub(crate) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (position, digit) in digits.char_indices() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// `3.4 GB`.
pub(crate) fn bytes(count: i64) -> String {
    let value = count as f64;
    match count {
        ..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

/// `20 %`, `12.5 %`.
pub(crate) fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round() / 10.0;
    format!("{tenths} %")
}

/// A value of a manifest or a summary as text: text without quotes, all else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if whole.abs() >= 10_000 => grouped(whole),
            Some(whole) => whole.to_string(),
            None => self::number(number.as_f64()),
        },
        other => other.to_string(),
    }
}

/// Names and values of an artifact's summary, JSON as text; without what is a list or an object.
pub(crate) fn facts(summary: &str) -> Vec<(String, String)> {
    let summary: Value = serde_json::from_str(summary).unwrap_or_default();
    let facts = summary.as_object().into_iter().flatten();
    facts
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_)))
        .map(|(name, value)| (name.replace('_', " "), plain(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0.0000"),
            (0.123_456, "0.1235"),
            (1e-5, "1.00e-5"),
            (178.234, "178.2"),
            (36_000.0, "36,000"),
            (-1_234_567.0, "-1,234,567"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(Some(value)), expected);
        }
        assert_eq!(number(None), "–");
    }

    #[test]
    fn durations_keep_two_units() {
        for (seconds, expected) in [
            (1.25, "1.2 s"),
            (59.0, "59 s"),
            (425.0, "7 min 05 s"),
            (11_520.0, "3 h 12 min"),
            (525_600.0, "6 d 2 h"),
        ] {
            assert_eq!(duration(Some(seconds)), expected);
        }
        assert_eq!(duration(None), "–");
        assert_eq!(duration(Some(f64::NAN)), "–");
    }

    #[test]
    fn facts_are_short() {
        let summary = "{\"images\": 12000, \"seeds\": \"0-7\", \"sizes\": [1], \"class\": null}";
        let expected = [("images", "12,000"), ("seeds", "0-7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(facts(summary), expected);
        assert_eq!(facts("no JSON"), []);
    }

    #[test]
    fn shares_are_percents() {
        assert_eq!(percent(0.2), "20 %");
        assert_eq!(percent(0.3 * 0.75), "22.5 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(3_400_000_000), "3.4 GB");
        assert_eq!(ago("not a time"), "not a time");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(200_000), "2 d");
    }
}
