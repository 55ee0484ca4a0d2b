//! Some runs side by side: one column a run, joined by polars.

use patchwork_registry::RunDetail;
use polars::prelude::{
    BooleanChunked, DataFrame, DataFrameJoinOps, JoinArgs, JoinCoalesce, JoinType, PolarsResult,
    SortMultipleOptions, df,
};
use serde_json::{Value, json};

use crate::output::Rows;

/// The column that runs are joined by.
const KEY: &str = "what";

/// A table under its name for programs and its title for people.
pub(super) struct Titled {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Rows,
}

/// The settings that differ, the scores, the ends of the series, and the circumstances that differ.
pub(super) fn tables(runs: &[RunDetail]) -> PolarsResult<[Titled; 4]> {
    Ok([
        table(
            "settings",
            "settings that differ",
            &differing(&joined(runs, settings)?)?,
        )?,
        table("scores", "scores", &joined(runs, scores)?)?,
        table("series", "series, last values", &joined(runs, series)?)?,
        table(
            "circumstances",
            "circumstances that differ",
            &differing(&joined(runs, circumstances)?)?,
        )?,
    ])
}

type Facts = Vec<(String, String)>;

fn settings(run: &RunDetail) -> Facts {
    run.params.clone()
}

fn scores(run: &RunDetail) -> Facts {
    run.scores
        .iter()
        .map(|score| {
            (
                format!("{} of {}", score.metric, score.subject),
                format!("{:.3}", score.value),
            )
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
        ("host", run.host.clone()),
        ("processor", run.cpu.clone()),
        ("threads", run.threads.to_string()),
        ("versions", run.versions.clone()),
    ];
    facts.extend(
        run.run
            .seconds
            .map(|seconds| ("seconds", format!("{seconds:.1}"))),
    );
    facts.extend(
        run.git_revision
            .clone()
            .map(|revision| ("revision", revision)),
    );
    facts
        .into_iter()
        .map(|(what, value)| (what.to_owned(), value))
        .collect()
}

/// A row for each key that any run has.
fn joined(runs: &[RunDetail], facts: impl Fn(&RunDetail) -> Facts) -> PolarsResult<DataFrame> {
    let mut table = df!(KEY => Vec::<String>::new())?;
    for run in runs {
        let (keys, values): (Vec<String>, Vec<String>) = facts(run).into_iter().unzip();
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
fn differing(table: &DataFrame) -> PolarsResult<DataFrame> {
    let cells = cells(table)?;
    let mask: BooleanChunked = cells
        .iter()
        .map(|row| row[1..].windows(2).any(|pair| pair[0] != pair[1]))
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
