//! Some runs side by side: one column a run, joined by polars.

use std::collections::BTreeSet;

use patchwork_comparison::{Facts, differing, without_absent_stages};
use patchwork_registry::RunDetail;
use polars::prelude::{
    BooleanChunked, DataFrame, DataFrameJoinOps, JoinArgs, JoinCoalesce, JoinType, PolarsResult,
    SortMultipleOptions, df,
};
use serde_json::{Value, json};

use crate::arguments::Format;
use crate::commands::show::subject;
use crate::output::{Rows, score_text};

/// The column that runs are joined by.
const KEY: &str = "what";

/// A table under its name for programs and its title for people.
pub(super) struct Titled {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Rows,
}

/// The settings that differ, the scores, the ends of the series, and the circumstances that differ; people get scores
/// that are rounded, programs all of their digits.
pub(super) fn tables(runs: &[RunDetail], format: Format) -> PolarsResult<[Titled; 4]> {
    let scores = |run: &RunDetail| scores(run, format);
    Ok([
        table(
            "settings",
            "settings that differ",
            &joined_where_differing(runs, settings)?,
        )?,
        table("scores", "scores", &joined(runs, &each(runs, scores))?)?,
        table(
            "series",
            "series, last values",
            &joined(runs, &each(runs, series))?,
        )?,
        table(
            "circumstances",
            "circumstances that differ",
            &joined_where_differing(runs, circumstances)?,
        )?,
    ])
}

fn each(runs: &[RunDetail], facts: impl Fn(&RunDetail) -> Facts) -> Vec<Facts> {
    runs.iter().map(facts).collect()
}

fn settings(run: &RunDetail) -> Facts {
    run.params.iter().cloned().collect()
}

fn scores(run: &RunDetail, format: Format) -> Facts {
    run.scores
        .iter()
        .map(|score| {
            let value = match format {
                Format::Table => score_text(score.value, 3),
                Format::Json | Format::Csv => score.value.to_string(),
            };
            (format!("{} of {}", score.metric, subject(score)), value)
        })
        .collect()
}

fn series(run: &RunDetail) -> Facts {
    run.metrics
        .iter()
        .filter_map(|series| {
            let last = series.last?;
            Some((
                format!("{} of {}", series.name, series.stage),
                format!("{last:.5}"),
            ))
        })
        .collect()
}

fn circumstances(run: &RunDetail) -> Facts {
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

/// A row for each fact that any run has; the facts are in the order of the runs.
fn joined(runs: &[RunDetail], facts: &[Facts]) -> PolarsResult<DataFrame> {
    let mut table = df!(KEY => Vec::<String>::new())?;
    for (run, facts) in runs.iter().zip(facts) {
        let (keys, values): (Vec<String>, Vec<String>) = facts.clone().into_iter().unzip();
        let own = df!(KEY => keys, run.run.name.as_str() => values)?;
        let arguments = JoinArgs {
            coalesce: JoinCoalesce::CoalesceColumns,
            ..JoinArgs::new(JoinType::Full)
        };
        table = table.join(&own, [KEY], [KEY], arguments, None)?;
    }
    table.sort([KEY], SortMultipleOptions::default())
}

/// The rows in which not all runs have the same.
fn joined_where_differing(
    runs: &[RunDetail],
    facts: fn(&RunDetail) -> Facts,
) -> PolarsResult<DataFrame> {
    let mut facts = each(runs, facts);
    without_absent_stages(&mut facts);
    let names: BTreeSet<String> = differing(&facts.iter().collect::<Vec<_>>())
        .into_iter()
        .collect();
    let table = joined(runs, &facts)?;
    let mask: BooleanChunked = cells(&table)?
        .iter()
        .map(|row| row[0].as_str().is_some_and(|name| names.contains(name)))
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
