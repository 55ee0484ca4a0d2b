//! The list of runs: kept between requests, since ended runs do not change, and searched and sorted in memory.

use std::collections::HashMap;

use patchwork_artifacts::RunStatus;
use patchwork_registry::{Registry, RegistryError, RunRow};
use serde::Deserialize;

/// Rows of all runs, newest first.
#[derive(Default)]
pub(crate) struct Listing {
    rows: Vec<RunRow>,
}

impl Listing {
    /// All runs as they are now; only new ones and those that were running are read.
    pub(crate) async fn refresh(
        &mut self,
        registry: &Registry,
    ) -> Result<&[RunRow], RegistryError> {
        let newest = self.rows.first().map_or(0, |row| row.id);
        let running: Vec<i64> = self
            .rows
            .iter()
            .filter(|row| row.status == RunStatus::Running)
            .map(|row| row.id)
            .collect();
        let changed = registry.runs_since(newest, &running).await?;
        let mut known: HashMap<i64, RunRow> =
            changed.into_iter().map(|row| (row.id, row)).collect();
        for row in &mut self.rows {
            if let Some(now) = known.remove(&row.id) {
                *row = now;
            }
        }
        let mut fresh: Vec<RunRow> = known.into_values().collect();
        fresh.sort_unstable_by_key(|row| -row.id);
        self.rows.splice(0..0, fresh);
        Ok(&self.rows)
    }
}

/// What of the list is wanted, as it stands in the address.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Wanted {
    /// Text in the name of the run or of its pipeline.
    pub(crate) q: String,
    /// A status.
    pub(crate) status: String,
    /// Which column sorts; with `-` before it the other way round.
    pub(crate) sort: String,
    /// Settings shown as columns, separated by commas.
    pub(crate) columns: String,
    /// `pipeline` groups by it.
    pub(crate) group: String,
    /// From 1.
    pub(crate) page: usize,
}

/// Rows a page.
pub(crate) const PAGE: usize = 100;

impl Wanted {
    /// The settings shown as columns.
    pub(crate) fn settings(&self) -> Vec<&str> {
        let columns = self.columns.split(',').map(str::trim);
        columns.filter(|name| !name.is_empty()).take(12).collect()
    }

    /// The rows that match, in order. `values` are those of the sorting column by a run's key, where that is a setting
    /// or a series.
    pub(crate) fn select<'a>(
        &self,
        rows: &'a [RunRow],
        values: &HashMap<i64, Cell>,
    ) -> Vec<&'a RunRow> {
        let text = self.q.to_lowercase();
        let mut found: Vec<&RunRow> = rows
            .iter()
            .filter(|row| {
                (text.is_empty() || row.name.to_lowercase().contains(&text))
                    && (self.status.is_empty() || row.status.to_string() == self.status)
            })
            .collect();
        let (column, descending) = match self.sort.strip_prefix('-') {
            Some(column) => (column, true),
            None => (self.sort.as_str(), false),
        };
        if !column.is_empty() {
            found.sort_by(|one, other| {
                let cells = (cell(one, column, values), cell(other, column, values));
                cells.0.order(&cells.1, descending)
            });
        }
        if self.group == "pipeline" {
            found.sort_by(|one, other| one.pipeline.cmp(&other.pipeline));
        }
        found
    }
}

/// A value to sort by. What is absent comes last, either way round.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Nothing.
    Absent,
    /// A number, finite or not.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl Cell {
    /// A number where the text is one.
    pub(crate) fn of(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }

    fn order(&self, other: &Self, descending: bool) -> std::cmp::Ordering {
        let rank = |cell: &Self| match cell {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Absent => 2,
        };
        let order = match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => return rank(self).cmp(&rank(other)),
        };
        if descending { order.reverse() } else { order }
    }
}

fn cell(row: &RunRow, column: &str, values: &HashMap<i64, Cell>) -> Cell {
    let number = |value: Option<f64>| value.map_or(Cell::Absent, Cell::Number);
    match column {
        "run" => Cell::Text(row.name.clone()),
        "pipeline" => Cell::Text(row.pipeline.clone()),
        "status" => Cell::Text(row.status.to_string()),
        "started" => Cell::Number(row.id as f64),
        "duration" => number(row.seconds),
        "score" => number(row.value),
        _ => values.get(&row.id).cloned().unwrap_or(Cell::Absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, name: &str, value: Option<f64>) -> RunRow {
        RunRow {
            id,
            name: name.to_owned(),
            pipeline: name.split('-').next().unwrap_or_default().to_owned(),
            status: RunStatus::Succeeded,
            started: String::new(),
            ended: None,
            seconds: None,
            stages: 0,
            succeeded: 0,
            cached: 0,
            failed: 0,
            interrupted: 0,
            metric: None,
            value,
            samples: None,
        }
    }

    #[test]
    fn rows_are_found_sorted_and_grouped() {
        let rows = [
            row(4, "cats-2", Some(30.0)),
            row(3, "dogs-1", None),
            row(2, "cats-1", Some(f64::NAN)),
            row(1, "Birds-1", Some(9.0)),
        ];
        let names = |wanted: &Wanted, values: &HashMap<i64, Cell>| -> Vec<String> {
            let found = wanted.select(&rows, values);
            found.iter().map(|row| row.name.clone()).collect()
        };
        let none = HashMap::new();
        let wanted = |q: &str, sort: &str, group: &str| Wanted {
            q: q.to_owned(),
            sort: sort.to_owned(),
            group: group.to_owned(),
            ..Wanted::default()
        };
        assert_eq!(names(&wanted("CAT", "", ""), &none), ["cats-2", "cats-1"]);
        assert_eq!(
            names(&wanted("", "score", ""), &none),
            ["Birds-1", "cats-2", "cats-1", "dogs-1"]
        );
        assert_eq!(
            names(&wanted("", "-score", ""), &none),
            ["cats-1", "cats-2", "Birds-1", "dogs-1"]
        );
        assert_eq!(
            names(&wanted("", "started", "pipeline"), &none),
            ["Birds-1", "cats-1", "cats-2", "dogs-1"]
        );
        let batch = HashMap::from([
            (4, Cell::of("64")),
            (3, Cell::of("8")),
            (1, Cell::of("many")),
        ]);
        assert_eq!(
            names(&wanted("", "stages.train.batch_size", ""), &batch),
            ["dogs-1", "cats-2", "Birds-1", "cats-1"]
        );
    }
}
