//! Samples as PNG files, for programs that do not read shards.

use std::ops::ControlFlow;

use patchwork_artifacts::event::Progress;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::DatasetError;
use patchwork_dataset::export::{ExportFormat, ExportOptions, export};
use patchwork_terms::Export;

/// Writes the finished shards of the artifact once more, beside them.
pub(super) fn write_export(choice: Export, context: &Context) -> Result<(), StageError> {
    let (format, name) = match choice {
        Export::None => return Ok(()),
        Export::Folder => (ExportFormat::PngFolder, "png"),
        Export::Zip => (ExportFormat::EdmZip, "images.zip"),
    };
    let out = context.artifact().join(name);
    // What an earlier attempt made is made again: the same.
    if out.is_dir() {
        durable::remove_dir_all(&out)?;
    } else {
        durable::remove_file(&out)?;
    }
    let options = ExportOptions {
        folder: context.artifact(),
        out: &out,
        format,
        drop_duplicates: false,
    };
    let written = export(&options, &mut |done, total| {
        context.progress(Progress {
            done: done as u64,
            total: total as u64,
            resumed: 0,
            unit: "images".to_owned(),
            note: "writing PNG files".to_owned(),
        });
        if context.is_interrupted() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    match written {
        Ok(_) => Ok(()),
        Err(DatasetError::Interrupted) => Err(StageError::Interrupted),
        Err(error) => Err(error.into()),
    }
}
