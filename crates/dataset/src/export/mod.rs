//! A prepared data set for other programs: an EDM archive, a folder of PNG files, Hugging Face Parquet.
//!
//! Pixels are written as lossless PNG, in the order of the ids, so that what another program reads is what training
//! sees. A result is complete or absent.

mod edm_zip;
mod hugging_face;
mod png;
mod png_folder;
mod progress;
mod selection;

use std::path::{Path, PathBuf};

use patchwork_core::{WorkFolder, durable};

use crate::error::DatasetError;
use crate::loader::ShardSet;
pub use progress::ExportProgress;
use selection::Selection;

/// What a data set is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// An uncompressed zip of PNG files with a `dataset.json` of labels, as the tools of EDM and StyleGAN read it.
    EdmZip,
    /// A folder of PNG files, in a folder a class where images have classes.
    PngFolder,
    /// A folder of Parquet files with an `image` (`struct<bytes, path>`) and a `label` column, as Hugging Face's
    /// `datasets` reads it.
    HuggingFace,
}

/// What to write where.
#[derive(Clone, Debug)]
pub struct ExportOptions<'a> {
    /// The folder of the data set.
    pub folder: &'a Path,
    /// The file or folder to make; it must not be there.
    pub out: &'a Path,
    /// What to write.
    pub format: ExportFormat,
    /// Whether of images with the same pixels only the first is written.
    pub drop_duplicates: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Images written.
    pub images: usize,
    /// Images left out because an earlier one has the same pixels.
    pub duplicates: usize,
}

/// Writes a data set for other programs.
///
/// # Errors
/// [`DatasetError::OutputThere`]; [`DatasetError::Interrupted`] when `progress` breaks; a set that the format cannot
/// hold.
pub fn export(
    options: &ExportOptions<'_>,
    progress: &mut ExportProgress<'_>,
) -> Result<Exported, DatasetError> {
    if options.out.exists() {
        return Err(DatasetError::OutputThere {
            path: options.out.to_owned(),
        });
    }
    let set = ShardSet::open(options.folder)?;
    let selection = Selection::new(options.folder, &set, options.drop_duplicates)?;
    match options.format {
        ExportFormat::EdmZip => edm_zip::write(&selection, options.out, progress)?,
        ExportFormat::PngFolder => in_new_folder(options.out, |folder| {
            png_folder::write(&selection, folder, progress)
        })?,
        ExportFormat::HuggingFace => in_new_folder(options.out, |folder| {
            hugging_face::write(&selection, folder, progress)
        })?,
    }
    Ok(Exported {
        images: selection.images.len(),
        duplicates: set.len() - selection.images.len(),
    })
}

/// Has a folder filled beside its place and published when it is whole; what a killed export left is removed first.
///
/// # Errors
/// [`DatasetError::Claim`] where something else lies beside it.
fn in_new_folder(
    out: &Path,
    fill: impl FnOnce(&Path) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    const CONTENT: &str = "content";
    let work = WorkFolder::claim(&partial_folder(out), |name| name == CONTENT)?;
    let content = work.path().join(CONTENT);
    durable::remove_dir_all(&content)?;
    durable::create_dir_all(&content)?;
    if let Err(error) = fill(&content) {
        // The first error is the one to report; a leftover is removed at the next start.
        let _ = work.remove();
        return Err(error);
    }
    durable::publish_directory(&content, out)?;
    work.remove()?;
    Ok(())
}

fn partial_folder(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.partial"))
}
