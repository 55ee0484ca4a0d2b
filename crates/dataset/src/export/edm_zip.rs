//! The archive that the tools of EDM and StyleGAN read: stored PNG files and their labels in `dataset.json`.

use std::io::Write;
use std::path::Path;

use patchwork_core::FileError;
use patchwork_core::durable::DurableFile;
use serde_json::json;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::progress::ExportProgress;
use super::selection::Selection;
use crate::error::DatasetError;

/// The name of an image: `00000/img00000017.png`, a folder a thousand images.
fn name(number: usize) -> String {
    let digits = format!("{number:08}");
    format!("{}/img{digits}.png", &digits[..digits.len() - 3])
}

pub(super) fn write(
    selection: &Selection<'_>,
    out: &Path,
    progress: &mut ExportProgress<'_>,
) -> Result<(), DatasetError> {
    let failed = |source: std::io::Error| FileError::new("write", out, source);
    let zip_failed = |error: ZipError| failed(error.into());
    let labels = selection.labels()?;
    // No time of day: the same set gives the same archive. PNG files are compressed already.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(DurableFile::create(out)?);
    selection.for_each_png(progress, |number, _, png| {
        archive
            .start_file(name(number), options)
            .map_err(zip_failed)?;
        archive.write_all(&png).map_err(failed)?;
        Ok(())
    })?;
    let labels = labels.map(|labels| {
        let pairs = labels.iter().enumerate();
        pairs
            .map(|(number, label)| json!([name(number), label]))
            .collect::<Vec<_>>()
    });
    let mut description = json!({ "labels": labels });
    if !selection.set.class_names().is_empty() {
        description["class_names"] = json!(selection.set.class_names());
    }
    archive
        .start_file("dataset.json", options)
        .map_err(zip_failed)?;
    archive
        .write_all(description.to_string().as_bytes())
        .map_err(failed)?;
    archive.finish().map_err(zip_failed)?.commit()?;
    Ok(())
}
