//! What some runs do not have in common.

use std::collections::{BTreeMap, BTreeSet};

/// What there is to tell of a run, by its name.
pub(super) type Facts = BTreeMap<String, String>;

/// The names of the facts that are not the same in all runs; last those that some runs do not have at all.
pub(super) fn differing(runs: &[&Facts]) -> Vec<String> {
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
}
