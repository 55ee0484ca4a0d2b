//! What distinguishes sets of samples of networks of equally many images: other steps, another guidance.
//!
//! An artifact does not know the names of stages, so they are distinguished by the settings in which they differ. Where
//! each set is of another moment of training, as on a curve, nothing is reported.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::worker::StageError;
use patchwork_artifacts::{Manifest, Subject};
use patchwork_recipes::sample::distinguishes_samples;
use patchwork_terms::Kind;
use serde_json::Value;

/// What distinguishes each input of a stage.
pub(crate) struct Variants {
    /// A text an input, empty where the moment of training says enough.
    by_input: Vec<String>,
}

impl Variants {
    /// Compares the samples that a job reads.
    pub(crate) fn of_inputs(job: &Job) -> Result<Self, StageError> {
        let samples = job
            .inputs
            .iter()
            .map(Samples::read)
            .collect::<Result<Vec<_>, StageError>>()?;
        Ok(Self {
            by_input: distinguishing_names(&samples),
        })
    }

    /// What distinguishes a subject, such as `steps=18`; may be empty.
    pub(crate) fn of(&self, subject: &Subject) -> &str {
        match subject {
            Subject::Input(position) => self.by_input.get(*position).map_or("", String::as_str),
            Subject::Baseline(_) => "",
        }
    }
}

/// Samples of a network of known training.
struct Samples {
    images_seen: u64,
    /// The settings of their stage.
    facts: BTreeMap<String, String>,
}

impl Samples {
    /// None for anything else.
    fn read(input: &JobInput) -> Result<Option<Self>, StageError> {
        if input.input.kind != Kind::Sample.name() {
            return Ok(None);
        }
        let manifest = Manifest::read(&input.folder)?;
        let seen = manifest.outcome.summary.get("images_seen");
        let Some(images_seen) = seen.and_then(Value::as_u64) else {
            return Ok(None);
        };
        let settings = manifest.settings.as_object().into_iter().flatten();
        let mut facts: BTreeMap<String, String> = settings
            .filter(|(name, _)| distinguishes_samples(name))
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let network = manifest
            .inputs
            .iter()
            .find(|made_from| made_from.kind == Kind::Train.name());
        facts.extend(network.map(|network| ("network".to_owned(), network.fingerprint.short())));
        Ok(Some(Self { images_seen, facts }))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text for each set; all are empty unless some are of equally many images.
fn distinguishing_names(sets: &[Option<Samples>]) -> Vec<String> {
    let samples: Vec<&Samples> = sets.iter().flatten().collect();
    let moments: BTreeSet<u64> = samples.iter().map(|set| set.images_seen).collect();
    let mut names: BTreeSet<&String> = BTreeSet::new();
    if moments.len() < samples.len() {
        names.extend(samples.iter().flat_map(|set| set.facts.keys()));
        names.retain(|name| {
            samples
                .windows(2)
                .any(|pair| pair[0].facts.get(*name) != pair[1].facts.get(*name))
        });
    }
    let in_words = |set: &Samples| {
        let facts = names.iter().filter_map(|name| {
            let value = set.facts.get(*name)?;
            Some(format!("{name}={value}"))
        });
        facts.collect::<Vec<_>>().join(", ")
    };
    sets.iter()
        .map(|set| set.as_ref().map_or_else(String::new, in_words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fact<'a> = (&'a str, &'a str);

    /// Inputs, by their images seen and how they were generated, and what distinguishes each.
    fn check(inputs: &[Option<(u64, &[Fact<'_>])>], expected: &[&str]) {
        let samples = |&(images_seen, facts): &(u64, &[Fact<'_>])| Samples {
            images_seen,
            facts: facts
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let sets: Vec<Option<Samples>> = inputs
            .iter()
            .map(|input| input.as_ref().map(samples))
            .collect();
        assert_eq!(distinguishing_names(&sets), expected);
    }

    #[test]
    fn sets_of_the_same_moment_are_named_after_what_differs() {
        let (four, nine) = (("steps", "4"), ("steps", "9"));
        let seeds = ("seeds", "0-31");
        check(&[None, Some((600, &[four, seeds]))], &["", ""]);
        // A curve, whose last point has other steps: the images seen say enough.
        check(&[Some((0, &[four])), Some((600, &[nine]))], &["", ""]);
        check(
            &[
                Some((600, &[four, seeds])),
                None,
                Some((600, &[nine, seeds])),
            ],
            &["steps=4", "", "steps=9"],
        );
        let (plain, guided) = (("guidance", "none"), ("guidance", "1.5"));
        check(
            &[
                Some((600, &[nine, plain])),
                Some((600, &[nine, guided])),
                Some((300, &[nine, guided])),
            ],
            &["guidance=none", "guidance=1.5", "guidance=1.5"],
        );
        // The very same images twice.
        check(&[Some((600, &[four])), Some((600, &[four]))], &["", ""]);
    }
}
