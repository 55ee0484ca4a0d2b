//! The list of runs: kept between requests, since ended runs do not change, and searched and sorted in memory.

use std::collections::HashMap;

use patchwork_artifacts::RunStatus;
use patchwork_registry::{Registry, RegistryError, RunRow};
use serde::Deserialize;
use tokio::sync::Mutex;

/// The series whose last value is the column "images/s".
pub(crate) const SPEED: &str = "images_per_second";
/// Rows a page.
const PAGE: usize = 100;
/// Points of a sparkline.
const OUTLINE: i64 = 48;

/// A run in the list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// What the registry says of it in short.
    pub(crate) run: RunRow,
    /// The last images/s.
    pub(crate) speed: Option<f64>,
}

/// All runs, newest first.
#[derive(Default)]
pub(crate) struct Listing {
    rows: Vec<Listed>,
}

impl Listing {
    /// All runs as they are now; only new ones and those that were running are read.
    pub(crate) async fn refresh(
        &mut self,
        registry: &Registry,
    ) -> Result<&[Listed], RegistryError> {
        let newest = self.rows.first().map_or(0, |row| row.run.id);
        let running: Vec<i64> = self
            .rows
            .iter()
            .filter(|row| row.run.status == RunStatus::Running)
            .map(|row| row.run.id)
            .collect();
        let changed = registry.runs_since(newest, &running).await?;
        let ids: Vec<i64> = changed.iter().map(|run| run.id).collect();
        let speeds = registry.last_values(SPEED, &ids).await?;
        let changed = changed.into_iter().map(|run| Listed {
            speed: speeds.get(&run.id).copied(),
            run,
        });
        let mut known: HashMap<i64, Listed> = changed.map(|row| (row.run.id, row)).collect();
        for row in &mut self.rows {
            if let Some(now) = known.remove(&row.run.id) {
                *row = now;
            }
        }
        let mut fresh: Vec<Listed> = known.into_values().collect();
        fresh.sort_unstable_by_key(|row| -row.run.id);
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

impl Wanted {
    /// The settings shown as columns.
    pub(crate) fn settings(&self) -> Vec<&str> {
        let columns = self.columns.split(',').map(str::trim);
        columns.filter(|name| !name.is_empty()).take(12).collect()
    }

    /// The rows that match, in order. `values` are those of the sorting column by a run's key, where that is a setting.
    fn select<'a>(&self, rows: &'a [Listed], values: &HashMap<i64, Cell>) -> Vec<&'a Listed> {
        let text = self.q.to_lowercase();
        let mut found: Vec<&Listed> = rows
            .iter()
            .filter(|Listed { run, .. }| {
                (text.is_empty() || run.name.to_lowercase().contains(&text))
                    && (self.status.is_empty() || run.status.to_string() == self.status)
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
            found.sort_by(|one, other| one.run.pipeline.cmp(&other.run.pipeline));
        }
        found
    }
}

/// A value to sort by. What is absent comes last, either way round.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    /// Nothing.
    Absent,
    /// A number, finite or not.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl Cell {
    /// A number where the text is one.
    fn of(text: &str) -> Self {
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

fn cell(row: &Listed, column: &str, values: &HashMap<i64, Cell>) -> Cell {
    let number = |value: Option<f64>| value.map_or(Cell::Absent, Cell::Number);
    let run = &row.run;
    match column {
        "run" => Cell::Text(run.name.clone()),
        "pipeline" => Cell::Text(run.pipeline.clone()),
        "status" => Cell::Text(run.status.to_string()),
        "started" => Cell::Number(run.id as f64),
        "duration" => number(run.seconds),
        "score" => number(run.value),
        SPEED => number(row.speed),
        _ => values.get(&run.id).cloned().unwrap_or(Cell::Absent),
    }
}

/// One page of the list, and what is shown beside each run.
pub(crate) struct Chosen {
    /// Its rows.
    pub(crate) rows: Vec<Listed>,
    /// How many runs match.
    pub(crate) found: usize,
    /// Which page it is, from 1.
    pub(crate) page: usize,
    /// Of how many.
    pub(crate) pages: usize,
    /// The values of the settings that are columns, by a run's key.
    pub(crate) settings: HashMap<String, HashMap<i64, String>>,
    /// The losses in outline, by a run's key.
    pub(crate) outlines: HashMap<i64, Vec<f64>>,
}

/// Finds the runs of a page.
pub(crate) async fn choose(
    registry: &Registry,
    listing: &Mutex<Listing>,
    wanted: &Wanted,
) -> Result<Chosen, RegistryError> {
    let mut settings = HashMap::new();
    for key in wanted.settings() {
        settings.insert(key.to_owned(), registry.setting_of_runs(key).await?);
    }
    let column = wanted.sort.trim_start_matches('-');
    let values: HashMap<i64, Cell> = settings.get(column).map_or_else(HashMap::new, |setting| {
        let values = setting.iter();
        values.map(|(id, value)| (*id, Cell::of(value))).collect()
    });
    let mut listing = listing.lock().await;
    let found = wanted.select(listing.refresh(registry).await?, &values);
    let pages = found.len().div_ceil(PAGE).max(1);
    let page = wanted.page.clamp(1, pages);
    let count = found.len();
    let of_page = found.into_iter().skip((page - 1) * PAGE).take(PAGE);
    let rows: Vec<Listed> = of_page.cloned().collect();
    drop(listing);
    let ids: Vec<i64> = rows.iter().map(|row| row.run.id).collect();
    Ok(Chosen {
        rows,
        found: count,
        page,
        pages,
        settings,
        outlines: registry.outlines("loss", &ids, OUTLINE).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, name: &str, value: Option<f64>, speed: f64) -> Listed {
        let run = RunRow {
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
        };
        Listed {
            run,
            speed: Some(speed).filter(|speed| *speed > 0.0),
        }
    }

    #[test]
    fn rows_are_found_sorted_and_grouped() {
        let rows = [
            row(4, "cats-2", Some(30.0), 7.0),
            row(3, "dogs-1", None, 9.0),
            row(2, "cats-1", Some(f64::NAN), 0.0),
            row(1, "Birds-1", Some(9.0), 8.0),
        ];
        let names = |wanted: &Wanted, values: &HashMap<i64, Cell>| -> Vec<String> {
            let found = wanted.select(&rows, values);
            found.iter().map(|row| row.run.name.clone()).collect()
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
        assert_eq!(
            names(&wanted("", "-images_per_second", ""), &none),
            ["dogs-1", "Birds-1", "cats-2", "cats-1"],
            "what has no value comes last"
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
