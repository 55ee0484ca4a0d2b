//! `patchwork dataset`: a prepared data set as tables and pictures.

use patchwork_core::durable;
use patchwork_dataset::grid::first_images_png;
use patchwork_dataset::{ShardSet, inspect};
use serde_json::json;

use crate::arguments::{DatasetCommand, Format};
use crate::error::CliError;
use crate::output::{Rows, line};

pub(crate) fn dataset(command: &DatasetCommand) -> Result<(), CliError> {
    match command {
        DatasetCommand::Inspect { folder, format } => {
            for table in inspect::inspect(folder)? {
                if *format == Format::Table {
                    line(&table.title)?;
                }
                let rows = table
                    .rows
                    .into_iter()
                    .map(|row| row.into_iter().map(|cell| json!(cell)).collect())
                    .collect();
                Rows::from_parts(table.columns, rows).print(*format)?;
            }
            Ok(())
        }
        DatasetCommand::Grid {
            folder,
            output,
            count,
            columns,
        } => {
            let set = ShardSet::open(folder)?;
            let png = first_images_png(&set, *count as usize, *columns as usize)?;
            durable::write(output, &png)?;
            line(&output.display().to_string())
        }
    }
}
