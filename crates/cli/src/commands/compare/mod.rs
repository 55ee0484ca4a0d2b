//! `patchwork compare`: runs side by side, or the scores of many runs in one ranking.
//!
//! - `side_by_side`: what differs between some runs, as tables joined by polars;
//! - `ranking`: the scores of a metric, refused where they do not compare;
//! - `settings`: the settings that distinguish ranked runs;
//! - `curves`: distance against training images and against hours, as pictures.

mod curves;
mod ranking;
mod settings;
mod side_by_side;

use std::path::Path;

use patchwork_registry::Registry;
use serde_json::json;

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
    let tables = side_by_side::tables(&runs, arguments.format)?;
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
    for warning in patchwork_comparison::warnings(&runs) {
        remark(&warning);
    }
    if let Some(path) = &arguments.plot {
        for path in curves::draw(&registry, &runs, path, arguments.force).await? {
            let text = format!("picture: {}", path.display());
            match arguments.format {
                Format::Table => line(&text)?,
                Format::Json | Format::Csv => remark(&text),
            }
        }
    }
    Ok(())
}
