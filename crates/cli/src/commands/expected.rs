//! How long stages that would run may take, by what the nearest artifact took.
//!
//! That is the one with the fewest settings that differ, as `explain` names it. Its time, over all attempts, is scaled by
//! what says how much there is to do: the images of a training, the steps of a sampler. It knows nothing of other machines,
//! of other work on this one, and of settings that change the time of a step.

use std::collections::BTreeSet;
use std::path::Path;

use patchwork_registry::{Registry, RegistryError};
use patchwork_supervisor::explain::{Change, Explanation, PlannedAction};
use serde::Serialize;

use crate::arguments::Format;
use crate::error::CliError;
use crate::output::duration;

/// What a run would do with a stage, and how long it may take.
#[derive(Serialize)]
pub(super) struct Expected {
    #[serde(flatten)]
    pub(super) explanation: Explanation,
    /// None where it is cached, where part of it is done, and where nothing like it is recorded.
    pub(super) expected_seconds: Option<f64>,
}

/// Settings in proportion to which a stage takes longer.
const PROPORTIONAL: [&str; 2] = ["duration_images", "steps"];

/// Adds the times that the registry of a home lets expect.
pub(super) async fn with_times(
    home: &Path,
    explanations: Vec<Explanation>,
) -> Result<Vec<Expected>, CliError> {
    let registry = match Registry::open_read_only(&home.join("registry.db")).await {
        Ok(registry) => Some(registry),
        Err(RegistryError::Missing(_) | RegistryError::Empty(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let mut expected = Vec::with_capacity(explanations.len());
    for explanation in explanations {
        let seconds = match (&registry, explanation.nearest) {
            (Some(registry), Some(nearest)) => {
                let work = registry.work_on_artifact(&nearest.to_string()).await?;
                work.seconds
            }
            _ => None,
        };
        let expected_seconds = seconds.map(|seconds| seconds * scale(&explanation.changes));
        expected.push(Expected {
            explanation,
            expected_seconds,
        });
    }
    Ok(expected)
}

/// How much more there is to do than there was.
fn scale(changes: &[Change]) -> f64 {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
    changes
        .iter()
        .filter(|change| PROPORTIONAL.contains(&change.what.as_str()))
        .filter_map(|change| Some(number(&change.is)? / number(&change.was)?))
        .filter(|scale| scale.is_finite())
        .product()
}

/// All in all: a stage that several combinations share is computed once.
pub(super) fn in_all(explanations: &[Expected]) -> String {
    let mut known = BTreeSet::new();
    let open: Vec<&Expected> = explanations
        .iter()
        .filter(|expected| expected.explanation.action != PlannedAction::Cached)
        .filter(|expected| known.insert(expected.explanation.fingerprint))
        .collect();
    if open.is_empty() {
        return "everything is up to date".to_owned();
    }
    let times: Vec<f64> = (open.iter())
        .filter_map(|expected| expected.expected_seconds)
        .collect();
    let of = match open.len() {
        1 => "1 stage".to_owned(),
        stages => format!("{stages} stages"),
    };
    if times.is_empty() {
        return format!("{of} to compute; nothing like them is recorded yet");
    }
    let time = duration(Some(times.iter().sum()), Format::Table);
    let time = time.as_str().unwrap_or_default();
    match open.len() - times.len() {
        0 => format!("{of} to compute, about {time} one after another"),
        unknown => format!(
            "{of} to compute, about {time} one after another, and {unknown} of them of unknown length"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_takes_longer_in_proportion_to_what_it_does() {
        let change = |what: &str, was: Option<&str>, is: Option<&str>| Change {
            what: what.to_owned(),
            was: was.map(str::to_owned),
            is: is.map(str::to_owned),
        };
        let changes = [
            change("duration_images", Some("1000"), Some("4000")),
            change("learning_rate", Some("1"), Some("2")),
            change("steps", None, Some("10")),
        ];
        let is = |changes: &[_], expected: f64| (scale(changes) - expected).abs() < 1e-9;
        assert!(is(&changes, 4.0));
        assert!(is(&[], 1.0));
        assert!(is(&[change("steps", Some("0"), Some("10"))], 1.0));
    }
}
