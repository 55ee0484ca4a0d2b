//! What some runs do not have in common.

use std::collections::{BTreeMap, BTreeSet};

/// What is recorded of a run, by its name.
pub type Facts = BTreeMap<String, String>;

/// The names of the facts that are not the same in all runs; last those that some runs do not have at all.
pub fn differing(runs: &[&Facts]) -> Vec<String> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.keys()).collect();
    let (everywhere, here_and_there): (Vec<&String>, Vec<&String>) = names
        .into_iter()
        .filter(|name| {
            runs.windows(2)
                .any(|pair| pair[0].get(*name) != pair[1].get(*name))
        })
        .partition(|name| runs.iter().all(|run| run.contains_key(*name)));
    everywhere
        .into_iter()
        .chain(here_and_there)
        .cloned()
        .collect()
}

/// Puts one fact, such as `stages.sample` = `absent`, in the place of all settings of a stage that some runs do not have:
/// defaults of a stage that is not there are no differences.
pub fn without_absent_stages(runs: &mut [Facts]) {
    let stage = |key: &str| -> Option<String> {
        let (stage, _) = key.strip_prefix("stages.")?.split_once('.')?;
        Some(format!("stages.{stage}"))
    };
    let stages_of: Vec<BTreeSet<String>> = runs
        .iter()
        .map(|run| run.keys().filter_map(|key| stage(key)).collect())
        .collect();
    let all: BTreeSet<&String> = stages_of.iter().flatten().collect();
    let absent: BTreeSet<&String> = (all.into_iter())
        .filter(|stage| !stages_of.iter().all(|stages| stages.contains(*stage)))
        .collect();
    for (run, stages) in runs.iter_mut().zip(&stages_of) {
        run.retain(|key, _| stage(key).is_none_or(|stage| !absent.contains(&stage)));
        for stage in &absent {
            let state = if stages.contains(*stage) {
                "present"
            } else {
                "absent"
            };
            run.insert((*stage).clone(), state.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_lack_comes_after_what_all_have_otherwise() {
        let facts = |facts: &[(&str, &str)]| -> Facts {
            facts
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let runs = [
            facts(&[("a", "1"), ("steps", "4"), ("width", "8")]),
            facts(&[("steps", "9"), ("width", "8")]),
            facts(&[("steps", "4"), ("width", "8")]),
        ];
        let runs: Vec<&Facts> = runs.iter().collect();
        assert_eq!(differing(&runs), ["steps", "a"]);
        assert!(differing(&runs[..1]).is_empty());
        assert!(differing(&[]).is_empty());
    }

    #[test]
    fn a_stage_that_one_run_lacks_is_one_difference() {
        let facts = |facts: &[(&str, &str)]| -> Facts {
            facts
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let mut runs = [
            facts(&[
                ("seed", "0"),
                ("stages.sample.rho", "7"),
                ("stages.sample.steps", "18"),
                ("stages.train.batch_size", "4"),
            ]),
            facts(&[("seed", "0"), ("stages.train.batch_size", "8")]),
        ];
        without_absent_stages(&mut runs);
        let names = differing(&runs.iter().collect::<Vec<_>>());
        assert_eq!(names, ["stages.sample", "stages.train.batch_size"]);
        let states = runs.iter().map(|run| run["stages.sample"].as_str());
        assert!(states.eq(["present", "absent"]));
    }
}
