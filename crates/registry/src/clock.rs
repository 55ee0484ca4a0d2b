//! Times as the database holds them.

use std::time::SystemTime;

use jiff::Timestamp;

/// Now, as RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Milliseconds since 1970; a time outside of jiff's ten thousand years counts as 1970.
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    Timestamp::try_from(time).map_or(0, Timestamp::as_millisecond)
}
