//! `patchwork dataset`: a prepared data set as tables and pictures.

use patchwork_core::durable;
use patchwork_dataset::grid::grid_png;
use patchwork_dataset::{ShardSet, inspect};
use serde_json::json;

use crate::arguments::{DatasetCommand, Format};
use crate::error::CliError;
use crate::output::{Rows, line};

/// Pixels between the pictures of a grid, and how often a pixel is repeated in it.
const GRID_GAP: usize = 4;
const GRID_SCALE: u32 = 2;

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
            let shown = set.len().min(*count as usize);
            let images: Vec<&[u8]> = (0..shown).map(|index| set.pixels(index)).collect();
            let columns = *columns as usize;
            let png = grid_png(
                &images,
                set.width(),
                set.height(),
                columns,
                GRID_GAP,
                GRID_SCALE,
            )?;
            durable::write(output, &png)?;
            line(&output.display().to_string())
        }
    }
}
