//! Limits at which a training stops before its end, to be resumed another time.

use std::time::{Duration, Instant};

use patchwork_recipes::{Execution, images_of_kimg};

/// The limits of one attempt.
pub(super) struct Limits {
    max_kimg: Option<f64>,
    max_minutes: Option<f64>,
    begin: Instant,
}

impl Limits {
    /// Those of the execution settings, with the time counted from here on.
    pub(super) fn start(execution: &Execution) -> Self {
        Self {
            max_kimg: execution.max_kimg,
            max_minutes: execution.max_minutes,
            begin: Instant::now(),
        }
    }

    /// The limit that was reached after `seen` of `total` images, in words.
    pub(super) fn reached(&self, seen: u64, total: u64) -> Option<String> {
        let stopped = |limit: String, remedy: &str| {
            Some(format!(
                "stopped at {limit}, {seen} of {total} images seen; {remedy}"
            ))
        };
        match (self.max_kimg, self.max_minutes) {
            (Some(kimg), _) if seen >= images_of_kimg(kimg) => stopped(
                format!("`max_kimg` = {kimg}"),
                "it resumes from there when run with a larger one",
            ),
            (_, Some(limit)) if self.begin.elapsed() >= minutes(limit) => stopped(
                format!("`max_minutes` = {limit}"),
                "it resumes from there when run again",
            ),
            _ => None,
        }
    }
}

/// So many minutes, at most the longest time that there is.
pub(super) fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_once_it_is_reached() {
        let limits = |max_kimg, max_minutes| {
            Limits::start(&Execution {
                max_kimg,
                max_minutes,
                ..Execution::default()
            })
        };
        assert_eq!(limits(None, None).reached(u64::MAX, 1), None);
        assert_eq!(limits(Some(2.0), Some(1e9)).reached(1999, 9000), None);
        let reached = limits(Some(2.0), None).reached(2010, 9000).unwrap();
        assert!(reached.starts_with("stopped at `max_kimg` = 2, 2010 of 9000 images seen"));
        assert!(limits(None, Some(0.0)).reached(0, 9000).is_some());
        assert_eq!(minutes(f64::MAX), Duration::MAX);
    }
}
