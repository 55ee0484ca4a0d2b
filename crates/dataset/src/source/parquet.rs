//! Images in Parquet files: a column of image files, and labels.
//!
//! The Hugging Face Hub keeps them as a struct of `bytes` and `path`; others as a plain column of bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use patchwork_core::Digest;
use patchwork_core::file_error;

use super::account::PassedOver;
use super::columns::{ImageColumn, LabelColumn};
use super::listing::Listing;
use super::raw::Rejection;
use super::store::{ReadFiles, Store, StoreLabels, check_size};
use super::table_labels::TableLabels;
use crate::error::DatasetError;

/// Rows of a batch: images are held as they are stored.
const ROWS: usize = 64;

/// Parquet files, and what else lies among them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Those to read, sorted.
    pub(super) chosen: Vec<PathBuf>,
    /// Those of other splits.
    pub(super) of_other_splits: Vec<PathBuf>,
    pub(super) passed_over: PassedOver,
}

pub(super) struct ParquetStore {
    files: Vec<TableFile>,
    names: Listing<Place>,
    labels: TableLabels,
    passed_over: PassedOver,
}

struct TableFile {
    path: PathBuf,
    /// What the digest knows it by.
    name: String,
    image: ImageColumn,
    /// Bytes of an image on average.
    image_bytes: u64,
}

/// A row of a file.
#[derive(Clone, Copy)]
struct Place {
    file: u32,
    row: u32,
}

impl ParquetStore {
    /// Lists the rows of the tables at a path.
    pub(super) fn open(source: &Path, tables: Tables) -> Result<Self, DatasetError> {
        let mut store = Self {
            files: Vec::new(),
            names: Listing::default(),
            labels: TableLabels::default(),
            passed_over: tables.passed_over,
        };
        for path in &tables.chosen {
            store.list(source, path)?;
        }
        for path in &tables.of_other_splits {
            let rows = open(path)?.metadata().file_metadata().num_rows();
            (store.passed_over).add_many("of another split", rows.max(0) as u64);
        }
        store.names.refuse_duplicates();
        Ok(store)
    }

    /// Reads the names and labels of a file.
    fn list(&mut self, source: &Path, path: &Path) -> Result<(), DatasetError> {
        let failed = |error| DatasetError::parquet("read", path, error);
        let builder = open(path)?;
        let schema = builder.schema().clone();
        let image =
            ImageColumn::of(&schema).map_err(|(problem, hint)| DatasetError::NotSupported {
                path: path.to_owned(),
                problem,
                hint,
            })?;
        let label = LabelColumn::of(&schema);
        self.labels.begin_file(&schema, label.as_ref());
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let stored: i64 = builder
            .metadata()
            .row_groups()
            .iter()
            .flat_map(parquet::file::metadata::RowGroupMetaData::columns)
            .filter(|column| column.column_path().parts()[0] == image.column)
            .map(parquet::file::metadata::ColumnChunkMetaData::uncompressed_size)
            .sum();
        let (name, stem) = names(source, path);
        let mut columns: Vec<String> = image.path_leaf().into_iter().collect();
        columns.extend(label.as_ref().map(|label| label.name.clone()));
        let columns = columns.iter().map(String::as_str);
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let file = self.files.len() as u32;
        let mut keys = HashSet::with_capacity(rows as usize);
        let mut row = 0;
        for batch in builder
            .with_projection(mask)
            .with_batch_size(8192)
            .build()
            .map_err(failed)?
        {
            let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
            let paths = image
                .paths(&batch)
                .and_then(|paths| cast(&paths, &DataType::Utf8).ok());
            for index in 0..batch.num_rows() {
                let named = paths
                    .as_ref()
                    .map(AsArray::as_string::<i32>)
                    .filter(|paths| paths.is_valid(index) && !paths.value(index).is_empty());
                // Many data sets name no file, or give one name in each of their files, or to many of their rows.
                let key = match named {
                    Some(paths) => format!("{stem}/{}", paths.value(index)),
                    None => format!("{stem}/{row}"),
                };
                let is_new = keys.insert(Digest::of(key.as_bytes()));
                let key = if is_new { key } else { format!("{key}#{row}") };
                self.names.push(key.as_bytes(), Place { file, row });
                row += 1;
            }
            let labels = label
                .as_ref()
                .and_then(|label| batch.column_by_name(&label.name));
            self.labels.add(labels, batch.num_rows());
        }
        if u64::from(row) != rows {
            return Err(DatasetError::Archive {
                path: path.to_owned(),
                problem: format!("it says that it has {rows} rows, and has {row}"),
            });
        }
        self.files.push(TableFile {
            path: path.to_owned(),
            name,
            image,
            image_bytes: (stored.max(0) as u64).div_ceil(u64::max(1, rows)),
        });
        Ok(())
    }

    /// Reads images of one file, at rows in ascending order.
    fn read_rows(&self, file: usize, rows: &[usize]) -> Result<Vec<Option<Vec<u8>>>, DatasetError> {
        let TableFile { path, image, .. } = &self.files[file];
        let builder = open(path)?;
        let total = builder.metadata().file_metadata().num_rows().max(0) as usize;
        let leaf = image.bytes_leaf();
        let mask = ProjectionMask::columns(builder.parquet_schema(), [leaf.as_str()]);
        let ranges = rows.iter().map(|row| *row..*row + 1);
        let reader: ParquetRecordBatchReader = builder
            .with_projection(mask)
            .with_batch_size(ROWS)
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges, total))
            .build()
            .map_err(|error| DatasetError::parquet("read", path, error))?;
        let mut images = Vec::with_capacity(rows.len());
        for batch in reader {
            let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
            let files = image
                .files(&batch)
                .map_err(|error| DatasetError::parquet("read", path, error))?;
            let files = files.as_binary::<i64>();
            for index in 0..batch.num_rows() {
                let is_there = files.is_valid(index) && image.is_valid(&batch, index);
                images.push(is_there.then(|| files.value(index).to_vec()));
            }
        }
        Ok(images)
    }
}

/// What the digest knows a table by, and with what its rows' names begin: its file's name or, of one in a folder further
/// down, its path.
fn names(source: &Path, path: &Path) -> (String, String) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let below = path.strip_prefix(source).unwrap_or(path);
    let parent = below.parent().unwrap_or(Path::new(""));
    if path == source || parent == Path::new("") || parent == Path::new("data") {
        let name = text(Path::new(path.file_name().unwrap_or_default()));
        (name, text(Path::new(path.file_stem().unwrap_or_default())))
    } else {
        (text(below), text(&below.with_extension("")))
    }
}

impl Store for ParquetStore {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, file: usize) -> &str {
        self.names.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        self.files[self.names.place(file).file as usize].image_bytes
    }

    // A damaged page holds many images, so that whatever is wrong with a file stops the work: it is to be fetched again.
    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let mut read = Vec::with_capacity(files.len());
        let places: Vec<Place> = files.iter().map(|file| self.names.place(*file)).collect();
        for (group, files) in places
            .chunk_by(|a, b| a.file == b.file)
            .scan(0, |start, group| {
                let first = *start;
                *start += group.len();
                Some((group, &files[first..*start]))
            })
        {
            let rows: Vec<usize> = group.iter().map(|place| place.row as usize).collect();
            let file = group[0].file as usize;
            let images = self.read_rows(file, &rows)?;
            if images.len() != rows.len() {
                return Err(DatasetError::Archive {
                    path: self.files[file].path.clone(),
                    problem: "rows are missing from it".to_owned(),
                });
            }
            for (image, file) in images.into_iter().zip(files) {
                read.push(match (self.names.refused(*file), image) {
                    (Some(refused), _) => Err(refused.clone()),
                    (None, None) => Err(Rejection::new(NO_IMAGE)),
                    (None, Some(bytes)) => {
                        check_size(bytes.len() as u64).map(|()| Cow::Owned(bytes))
                    }
                });
            }
        }
        Ok(read)
    }

    fn labels(&self) -> Result<Option<StoreLabels>, String> {
        self.labels.finished()
    }

    fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    // Where an earlier version read a file at all, it read the same rows.
    fn reads_more(&self) -> bool {
        false
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        let files = self.files.iter();
        files
            .map(|file| (file.name.clone(), file.path.clone()))
            .collect()
    }
}

/// A row that may name a file on another machine.
const NO_IMAGE: &str = "the row holds no image; where it names a file, the table has to be written with the images in it";

/// Whether a table has a column of images.
pub(super) fn has_images(path: &Path) -> bool {
    open(path).is_ok_and(|table| ImageColumn::of(table.schema()).is_ok())
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>, DatasetError> {
    ParquetRecordBatchReaderBuilder::try_new(file_error::open(path)?)
        .map_err(|error| DatasetError::parquet("read", path, error))
}
