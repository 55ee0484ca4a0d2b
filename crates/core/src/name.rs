//! Names of pipelines, stages and runs, which become folders, database keys and words on the command line.

/// What [`is_plain`] asks of a name, for messages.
pub const PLAIN: &str = "names have 1 to 64 lower-case letters, digits, `-` and `_`";

/// Whether a text can be the name of a pipeline or a stage: no separator of paths, no dot, no control character.
pub fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        })
}

/// The number of a run that is called `PIPELINE-NUMBER`; none where it is called otherwise.
pub fn run_number(run: &str, pipeline: &str) -> Option<u32> {
    let digits = run.strip_prefix(pipeline)?.strip_prefix('-')?;
    let number = digits.parse().ok()?;
    (number > 0 && digits == u32::to_string(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        for name in ["demo", "a-1", "x_2"] {
            assert!(is_plain(name), "{name}");
        }
        for name in ["", "..", "a/b", "A", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn a_run_is_a_pipeline_and_a_number() {
        assert_eq!(run_number("demo-12", "demo"), Some(12));
        assert_eq!(run_number("a-1-2", "a-1"), Some(2));
        for run in [
            "demo", "demo-", "demo-0", "demo-01", "demo-+1", "demo-1-2", "other-1",
        ] {
            assert_eq!(run_number(run, "demo"), None, "{run}");
        }
    }
}
