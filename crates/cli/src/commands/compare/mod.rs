//! `patchwork compare`: runs side by side, or the scores of many runs in one ranking.
//!
//! - `side_by_side`: what differs between some runs, as tables joined by polars;
//! - `ranking`: the scores of a metric, refused where they do not compare;
//! - `column`: what stands in one column, a run or several that differ in their seed alone;
//! - `groups`: the ranked scores of such runs, taken together;
//! - `settings`: the settings that distinguish ranked runs;
//! - `curves`: distance against training images and against hours, as pictures.

mod column;
mod curves;
mod groups;
mod ranking;
mod settings;
mod side_by_side;

use std::path::Path;

use patchwork_registry::Registry;
use serde_json::json;

use super::signatures::signatures;
use crate::arguments::{CompareArguments, Format};
use crate::error::CliError;
use crate::output::{Rows, exact_line, line, remark};

pub(crate) async fn compare(home: &Path, arguments: &CompareArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    if let Some(metric) = &arguments.metric {
        return ranking::rank(&registry, metric, arguments).await;
    }
    let mut runs = Vec::new();
    for selector in &arguments.runs {
        let run = registry.run(selector).await?;
        if runs
            .iter()
            .all(|known: &patchwork_registry::RunDetail| known.run.id != run.run.id)
        {
            runs.push(run);
        }
    }
    if runs.len() < 2 {
        return Err(CliError::TooFewRuns);
    }
    let warnings = patchwork_comparison::warnings(&runs);
    let mut signed = Vec::new();
    for run in &runs {
        let found = signatures(home, &registry, run).await?;
        let named = found.into_iter();
        signed.extend(named.map(|signature| format!("{}: signature: {signature}", run.run.name)));
    }
    let columns = column::columns(runs, arguments.over);
    let tables = side_by_side::tables(&columns, arguments.over, arguments.format)?;
    match arguments.format {
        Format::Json => {
            let object: serde_json::Map<_, _> = tables
                .iter()
                .map(|table| (table.name.to_owned(), json!(table.rows.objects())))
                .collect();
            exact_line(&serde_json::to_string_pretty(&object).expect("tables are plain data"))?;
        }
        Format::Csv => {
            let tables = tables.into_iter().map(|table| (table.name, table.rows));
            Rows::stacked(tables).print(Format::Csv)?;
        }
        Format::Table => {
            for table in &tables {
                line(table.title)?;
                table.rows.print(Format::Table)?;
            }
        }
    }
    for warning in warnings.iter().chain(&signed) {
        remark(warning);
    }
    if let Some(path) = &arguments.plot {
        for path in curves::draw(&registry, &columns, path, arguments.force).await? {
            let text = format!("picture: {}", path.display());
            match arguments.format {
                Format::Table => line(&text)?,
                Format::Json | Format::Csv => remark(&text),
            }
        }
    }
    Ok(())
}
