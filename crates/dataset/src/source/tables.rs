//! The Parquet files at a path.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use patchwork_core::durable;

use super::account::PassedOver;
use super::detect::{Look, PathKind};
use super::format::{Content, Request, SourceFormat};
use super::names::{ByName, by_name};
use super::parquet::{ParquetStore, Tables, has_images};
use super::settings::{Format, Split};
use super::store::{is_file, starts_with};
use crate::error::DatasetError;
use crate::shards::INDEX_FILE;

/// Folders within folders that are searched.
const DEEPEST: usize = 8;

pub(super) struct Parquet;

impl SourceFormat for Parquet {
    fn format(&self) -> Format {
        Format::Parquet
    }

    fn splits(&self) -> &'static [Split] {
        Split::ALL
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        match look.kind {
            PathKind::Folder => holds_tables(look.path),
            PathKind::File => starts_with(look.path, b"PAR1"),
            PathKind::Zip | PathKind::Tar(_) => Ok(false),
        }
    }

    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let tables = tables(&request.place, request.settings.split)?;
        let store = ParquetStore::open(&request.place, tables)?;
        Ok(Content::Files(Box::new(store)))
    }
}

/// The Parquet files at a path; else in its folder `data`; else in any folder below it. Of a split they are by the Hub's
/// names: the file's, or that of a folder that it lies in.
fn tables(path: &Path, split: Option<Split>) -> Result<Tables, DatasetError> {
    if path.is_file() {
        return Ok(Tables {
            chosen: vec![path.to_owned()],
            ..Tables::default()
        });
    }
    let mut tables = Tables::default();
    // A prepared data set is Parquet too, but no raw one.
    if path.join(INDEX_FILE).exists() {
        return Ok(tables);
    }
    let mut found = Vec::new();
    collect(path, DEEPEST, &mut found, &mut tables.passed_over)?;
    let all = found.len();
    for near in [path.to_owned(), path.join("data")] {
        let is_near = |table: &PathBuf| table.parent() == Some(&near);
        if found.iter().any(is_near) {
            found.retain(is_near);
            break;
        }
    }
    let others = (all - found.len()) as u64;
    (tables.passed_over).add_many("Parquet files in other folders", others);
    found.sort();
    let prefix = match split {
        None | Some(Split::All) => "",
        Some(Split::Train) => "train",
        Some(Split::Validation) => "val",
        Some(Split::Test) => "test",
    };
    for table in found {
        let below = table.strip_prefix(path).unwrap_or(&table);
        let mut parts = below.iter().map(|part| part.to_string_lossy());
        if parts.any(|part| part.starts_with(prefix)) {
            tables.chosen.push(table);
        } else {
            tables.of_other_splits.push(table);
        }
    }
    Ok(tables)
}

/// Whether a folder holds tables rather than image files: at its top or in `data`, or below it with few images beside them.
fn holds_tables(folder: &Path) -> Result<bool, DatasetError> {
    for near in [folder.to_owned(), folder.join("data")] {
        if near.is_dir() {
            let listed = durable::list(&near)?;
            if listed.iter().any(|path| path.ends_with(INDEX_FILE)) {
                return Ok(false);
            }
            if listed.iter().any(|path| is_table(path) && path.is_file()) {
                return Ok(true);
            }
        }
    }
    let mut found = Found::default();
    found.count(folder, DEEPEST)?;
    // What only describes images that lie beside it has no column of them.
    Ok(!found.are_images() && found.first.is_some_and(|table| has_images(&table)))
}

/// How many tables and image files lie below a folder, as far as was looked.
#[derive(Default)]
struct Found {
    first: Option<PathBuf>,
    tables: usize,
    images: usize,
}

impl Found {
    /// Whether the image files are too many for examples and banners beside tables.
    fn are_images(&self) -> bool {
        self.images > 10 + 10 * self.tables
    }

    fn count(&mut self, folder: &Path, deepest: usize) -> Result<(), DatasetError> {
        let mut folders = Vec::new();
        let listed = durable::list(folder)?;
        // A prepared data set is Parquet too, but no raw one.
        if listed.iter().any(|path| path.ends_with(INDEX_FILE)) {
            return Ok(());
        }
        for path in listed {
            let name = path.file_name().unwrap_or_default().as_bytes();
            if is_table(&path) && !name.starts_with(b".") && is_file(&path).unwrap_or(true) {
                self.tables += 1;
                self.first.get_or_insert(path);
            } else if by_name(name) == ByName::Image {
                self.images += 1;
                if self.are_images() {
                    return Ok(());
                }
            } else if !name.starts_with(b".") {
                folders.push(path);
            }
        }
        for path in folders {
            if deepest > 0 && !self.are_images() && path.is_dir() {
                self.count(&path, deepest - 1)?;
            }
        }
        Ok(())
    }
}

fn is_table(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn collect(
    folder: &Path,
    deepest: usize,
    found: &mut Vec<PathBuf>,
    passed_over: &mut PassedOver,
) -> Result<(), DatasetError> {
    let listed = durable::list(folder)?;
    if listed.iter().any(|path| path.ends_with(INDEX_FILE)) {
        passed_over.add("prepared data sets");
        return Ok(());
    }
    for path in listed {
        let name = path.file_name().unwrap_or_default().as_bytes();
        if path.is_dir() {
            if name.starts_with(b".") {
                passed_over.add("hidden folders");
            } else if deepest > 0 {
                collect(&path, deepest - 1, found, passed_over)?;
            } else {
                passed_over.add("folders too far down");
            }
            continue;
        }
        match by_name(name) {
            ByName::PassedOver(_)
                if is_table(&path) && !name.starts_with(b".") && is_file(&path)? =>
            {
                found.push(path);
            }
            ByName::PassedOver(reason) | ByName::Unknown(reason) => passed_over.add(&reason),
            ByName::Image => passed_over.add("image files beside the tables"),
        }
    }
    Ok(())
}
