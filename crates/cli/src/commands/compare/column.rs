//! What stands in one column, or is one line of a picture: a run, or runs that differ in their seed alone.

use patchwork_comparison::Facts;
use patchwork_registry::RunDetail;

use super::settings::{is_seed, outcome_setting};
use crate::arguments::Over;

/// One run, or several.
pub(super) struct Column {
    /// The run's name, or that of the first of several and how many they are.
    pub(super) name: String,
    /// At least one; of several, by seed.
    pub(super) runs: Vec<RunDetail>,
}

impl Column {
    /// The settings of its runs, without the seed where they are several seeds' in common.
    pub(super) fn settings(&self, over: Option<Over>) -> Facts {
        let settings = self.runs[0].params.iter().cloned();
        settings
            .filter(|(key, _)| over.is_none() || !is_seed(key))
            .collect()
    }
}

/// The columns, in the order of their first runs.
///
/// A seed counts once in a column: of two runs of the same settings and the same seed the newer one counts.
pub(super) fn columns(runs: Vec<RunDetail>, over: Option<Over>) -> Vec<Column> {
    let mut groups: Vec<(Facts, Vec<RunDetail>)> = Vec::new();
    for run in runs {
        // What changes no result keeps no runs apart, such as the number of threads.
        let settings: Facts = (run.params.iter())
            .filter(|(key, _)| outcome_setting(key).is_some() && !is_seed(key))
            .cloned()
            .collect();
        let known = groups.iter_mut().find(|(known, _)| *known == settings);
        match (over, known) {
            (Some(Over::Seed), Some((_, members))) => {
                let same = members.iter().position(|other| seed(other) == seed(&run));
                match same {
                    Some(place) if members[place].run.id < run.run.id => members[place] = run,
                    Some(_) => {}
                    None => members.push(run),
                }
            }
            _ => groups.push((settings, vec![run])),
        }
    }
    (groups.into_iter())
        .map(|(_, mut runs)| {
            let first = runs[0].run.name.clone();
            let name = match runs.len() {
                1 => first,
                seeds => format!("{first} ({seeds} seeds)"),
            };
            runs.sort_by_key(|run| seed(run).parse::<u64>().unwrap_or(u64::MAX));
            Column { name, runs }
        })
        .collect()
}

fn seed(run: &RunDetail) -> &str {
    let mut params = run.params.iter();
    params
        .find(|(key, _)| is_seed(key))
        .map_or("", |(_, value)| value.as_str())
}
