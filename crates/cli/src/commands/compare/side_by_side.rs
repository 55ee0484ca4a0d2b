//! Some runs side by side: one column a run, or a group of runs that differ in their seed alone, joined by polars.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_comparison::{Facts, Spread, differing, without_absent_stages};
use patchwork_registry::RunDetail;
use polars::prelude::{
    BooleanChunked, DataFrame, DataFrameJoinOps, JoinArgs, JoinCoalesce, JoinType, PolarsResult,
    SortMultipleOptions, df,
};
use serde_json::{Value, json};

use super::column::Column;
use crate::arguments::{Format, Over};
use crate::commands::show::subject;
use crate::output::{Rows, score_text};

/// The column that runs are joined by.
const KEY: &str = "what";

/// The column that says whether means differ.
const DIFFERENCE: &str = "difference";

/// A table under its name for programs and its title for people.
pub(super) struct Titled {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Rows,
}

/// The settings that differ, the scores, the ends of the series, and the circumstances that differ; people get scores
/// that are rounded, programs all of their digits.
pub(super) fn tables(
    columns: &[Column],
    over: Option<Over>,
    format: Format,
) -> PolarsResult<[Titled; 4]> {
    let each = |facts: &dyn Fn(&Column) -> Facts| columns.iter().map(facts).collect::<Vec<_>>();
    let mut scores = each(&|column| scores(column, format));
    let mut names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let settings = joined_where_differing(&names, each(&|column| column.settings(over)))?;
    let series = joined(&names, &each(&|column| series(column)))?;
    let circumstances = joined_where_differing(&names, each(&circumstances))?;
    if over.is_some() && columns.len() > 1 {
        names.push(DIFFERENCE.to_owned());
        scores.push(differences(columns));
    }
    Ok([
        table("settings", "settings that differ", &settings)?,
        table("scores", "scores", &joined(&names, &scores)?)?,
        table("series", "series, last values", &series)?,
        table("circumstances", "circumstances that differ", &circumstances)?,
    ])
}

/// The values of each quantity over a column's runs.
fn spreads<'a>(
    column: &'a Column,
    values: impl Fn(&'a RunDetail) -> Vec<(String, f64)>,
) -> BTreeMap<String, Spread> {
    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    // Of several values under one name in a run the last one counts.
    let of_run = |run| values(run).into_iter().collect::<BTreeMap<_, _>>();
    for (what, value) in column.runs.iter().flat_map(of_run) {
        found.entry(what).or_default().push(value);
    }
    (found.into_iter())
        .filter_map(|(what, values)| Some((what, Spread::of(&values)?)))
        .collect()
}

/// The scores of a column under what a row of theirs is called.
fn score_spreads(column: &Column) -> BTreeMap<String, Spread> {
    spreads(column, |run| {
        let scores = run.scores.iter();
        scores
            .map(|score| (row_of(&score.metric, &subject(score)), score.value))
            .collect()
    })
}

fn row_of(metric: &str, subject: &str) -> String {
    format!("{metric} of {subject}")
}

/// A row a score: its mean with deviation and number for people; for programs each has a row of its own.
fn scores(column: &Column, format: Format) -> Facts {
    let mut facts = Facts::new();
    for (what, spread) in score_spreads(column) {
        match (format, spread.deviation) {
            (Format::Table, None) => {
                facts.insert(what, score_text(spread.mean, 3));
            }
            (Format::Table, Some(deviation)) => {
                let [mean, deviation] = [spread.mean, deviation].map(|value| score_text(value, 3));
                facts.insert(what, format!("{mean} ± {deviation} ({})", spread.number));
            }
            (Format::Json | Format::Csv, deviation) => {
                if let Some(deviation) = deviation {
                    facts.insert(format!("{what}, deviation"), deviation.to_string());
                    facts.insert(format!("{what}, seeds"), spread.number.to_string());
                }
                facts.insert(what, spread.mean.to_string());
            }
        }
    }
    facts
}

/// Whether the lowest and the highest mean of a row differ beyond their spread.
fn differences(columns: &[Column]) -> Facts {
    let mut rows: BTreeMap<String, Vec<Spread>> = BTreeMap::new();
    for (what, spread) in columns.iter().flat_map(score_spreads) {
        rows.entry(what).or_default().push(spread);
    }
    (rows.into_iter())
        .filter_map(|(what, spreads)| {
            let mean = |one: &&Spread, other: &&Spread| one.mean.total_cmp(&other.mean);
            let lowest = spreads.iter().min_by(mean)?;
            let highest = spreads.iter().max_by(mean)?;
            let difference = lowest.difference(*highest);
            (spreads.len() > 1).then(|| (what, difference.to_string()))
        })
        .collect()
}

fn series(column: &Column) -> Facts {
    let lasts = spreads(column, |run| {
        let series = run.metrics.iter();
        series
            .filter_map(|series| Some((row_of(&series.name, &series.stage), series.last?)))
            .collect()
    });
    (lasts.into_iter())
        .map(|(what, spread)| {
            let text = match spread.deviation {
                Some(deviation) => format!("{:.5} ± {deviation:.5}", spread.mean),
                None => format!("{:.5}", spread.mean),
            };
            (what, text)
        })
        .collect()
}

/// Of several runs each value that there is.
fn circumstances(column: &Column) -> Facts {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (what, value) in column.runs.iter().flat_map(circumstances_of_run) {
        let known = values.entry(what).or_default();
        if !known.contains(&value) {
            known.push(value);
        }
    }
    (values.into_iter())
        .map(|(what, values)| (what, values.join(", ")))
        .collect()
}

fn circumstances_of_run(run: &RunDetail) -> Facts {
    let mut facts = vec![
        ("status", run.run.status.to_string()),
        ("host", run.circumstances.host.clone()),
        ("processor", run.circumstances.cpu.clone()),
        ("threads", run.circumstances.threads.to_string()),
        ("versions", run.circumstances.versions.clone()),
    ];
    facts.extend(
        run.run
            .seconds
            .map(|seconds| ("seconds", format!("{seconds:.1}"))),
    );
    facts.extend(
        run.circumstances
            .git_revision
            .clone()
            .map(|revision| ("revision", revision)),
    );
    facts
        .into_iter()
        .map(|(what, value)| (what.to_owned(), value))
        .collect()
}

/// A row for each fact that any column has; the columns are in their order.
fn joined(names: &[String], facts: &[Facts]) -> PolarsResult<DataFrame> {
    let mut table = df!(KEY => Vec::<String>::new())?;
    for (name, facts) in names.iter().zip(facts) {
        let (keys, values): (Vec<String>, Vec<String>) = facts.clone().into_iter().unzip();
        let own = df!(KEY => keys, name.as_str() => values)?;
        let arguments = JoinArgs {
            coalesce: JoinCoalesce::CoalesceColumns,
            ..JoinArgs::new(JoinType::Full)
        };
        table = table.join(&own, [KEY], [KEY], arguments, None)?;
    }
    table.sort([KEY], SortMultipleOptions::default())
}

/// The rows in which not all columns have the same.
fn joined_where_differing(names: &[String], mut facts: Vec<Facts>) -> PolarsResult<DataFrame> {
    without_absent_stages(&mut facts);
    let different: BTreeSet<String> = differing(&facts.iter().collect::<Vec<_>>())
        .into_iter()
        .collect();
    let table = joined(names, &facts)?;
    let mask: BooleanChunked = cells(&table)?
        .iter()
        .map(|row| row[0].as_str().is_some_and(|name| different.contains(name)))
        .collect();
    table.filter(&mask)
}

fn table(name: &'static str, title: &'static str, table: &DataFrame) -> PolarsResult<Titled> {
    let columns = table
        .get_column_names()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    Ok(Titled {
        name,
        title,
        rows: Rows::from_parts(columns, cells(table)?),
    })
}

fn cells(table: &DataFrame) -> PolarsResult<Vec<Vec<Value>>> {
    let columns = table
        .columns()
        .iter()
        .map(|column| column.str())
        .collect::<PolarsResult<Vec<_>>>()?;
    Ok((0..table.height())
        .map(|row| {
            columns
                .iter()
                .map(|column| json!(column.get(row)))
                .collect()
        })
        .collect())
}
