//! Images in Parquet files, as the Hugging Face Hub keeps them: a column of `struct<bytes, path>`, and labels.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, LargeBinaryArray, StructArray};
use arrow_schema::{DataType, Fields, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use patchwork_core::Digest;
use patchwork_core::file_error;
use serde_json::Value;

use super::cache::SourceCache;
use super::listing::Listing;
use super::raw::Rejection;
use super::store::{ReadFiles, Store, check_size};
use super::values::{integer_at, text_at};
use crate::error::DatasetError;

/// Rows of a batch: images are held as they are stored.
const ROWS: usize = 64;

pub(super) struct ParquetStore {
    files: Vec<TableFile>,
    names: Listing<Place>,
    /// -1 for none.
    labels: Vec<i32>,
    class_names: Option<Vec<String>>,
    digest: Digest,
}

struct TableFile {
    path: PathBuf,
    image_column: String,
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
    /// Lists the rows of files in the order given, and digests them.
    pub(super) fn open(
        source: &Path,
        paths: &[PathBuf],
        cache: &SourceCache,
    ) -> Result<Self, DatasetError> {
        let mut store = Self {
            files: Vec::new(),
            names: Listing::default(),
            labels: Vec::new(),
            class_names: None,
            digest: Digest::of(&[]),
        };
        for path in paths {
            store.list(path)?;
        }
        let most = store.labels.iter().copied().max().unwrap_or(-1);
        let named = store.class_names.as_ref().map_or(0, Vec::len);
        if most >= 0 && named <= most as usize {
            store.class_names = Some((0..=most).map(|label| label.to_string()).collect());
        }
        store.names.refuse_duplicates();
        let hashed: Vec<(String, &PathBuf)> = paths
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default();
                (name.to_string_lossy().into_owned(), path)
            })
            .collect();
        let hashed: Vec<(&str, &Path)> = hashed
            .iter()
            .map(|(name, path)| (name.as_str(), path.as_path()))
            .collect();
        store.digest = cache.digest(source, &hashed)?;
        Ok(store)
    }

    /// Reads the names and labels of a file.
    fn list(&mut self, path: &Path) -> Result<(), DatasetError> {
        let failed = |error| DatasetError::parquet("read", path, error);
        let builder = open(path)?;
        let schema = builder.schema().clone();
        let image = image_column(&schema).ok_or_else(|| DatasetError::Archive {
            path: path.to_owned(),
            problem: format!(
                "it has no column of images (a struct of `bytes` and `path`) among {}",
                names(&schema)
            ),
        })?;
        let label = label_column(&schema);
        if self.class_names.is_none() {
            self.class_names = label.and_then(|label| class_names(&schema, label));
        }
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let stored: i64 = builder
            .metadata()
            .row_groups()
            .iter()
            .flat_map(parquet::file::metadata::RowGroupMetaData::columns)
            .filter(|column| column.column_path().parts()[0] == image)
            .map(parquet::file::metadata::ColumnChunkMetaData::uncompressed_size)
            .sum();
        let file = self.files.len() as u32;
        let mut columns = vec![format!("{image}.path")];
        columns.extend(label.map(str::to_owned));
        let mask =
            ProjectionMask::columns(builder.parquet_schema(), columns.iter().map(String::as_str));
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut keys = HashSet::with_capacity(rows as usize);
        let mut row = 0;
        for batch in builder
            .with_projection(mask)
            .with_batch_size(8192)
            .build()
            .map_err(failed)?
        {
            let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
            let paths = batch
                .column_by_name(image)
                .and_then(|column| column.as_struct_opt())
                .and_then(|image| image.column_by_name("path"));
            let labels = label.and_then(|label| batch.column_by_name(label));
            for index in 0..batch.num_rows() {
                let named = paths.and_then(|paths| text_at(paths, index));
                // Many data sets name no file, or give one name in each of their files, or to many of their rows.
                let key = match named {
                    Some(path) if !path.is_empty() => format!("{stem}/{path}"),
                    _ => format!("{stem}/{row}"),
                };
                let is_new = keys.insert(Digest::of(key.as_bytes()));
                let key = if is_new { key } else { format!("{key}#{row}") };
                self.names.push(key.as_bytes(), Place { file, row });
                let class = labels.and_then(|labels| integer_at(labels, index));
                self.labels.push(class.unwrap_or(-1));
                row += 1;
            }
        }
        self.files.push(TableFile {
            path: path.to_owned(),
            image_column: image.to_owned(),
            image_bytes: (stored.max(0) as u64).div_ceil(u64::max(1, rows)),
        });
        Ok(())
    }

    /// Reads images of one file, at rows in ascending order.
    fn read_rows(&self, file: usize, rows: &[usize]) -> Result<Vec<Option<Vec<u8>>>, DatasetError> {
        let TableFile {
            path, image_column, ..
        } = &self.files[file];
        let builder = open(path)?;
        let total = builder.metadata().file_metadata().num_rows().max(0) as usize;
        let leaf = format!("{image_column}.bytes");
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
            let column = batch
                .column_by_name(image_column)
                .and_then(|column| column.as_struct_opt());
            for index in 0..batch.num_rows() {
                images.push(column.and_then(|column| bytes_of(column, index)));
            }
        }
        Ok(images)
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
                    (None, None) => Err(Rejection::new("the row holds no image")),
                    (None, Some(bytes)) => {
                        check_size(bytes.len() as u64).map(|()| Cow::Owned(bytes))
                    }
                });
            }
        }
        Ok(read)
    }

    fn label(&self, file: usize) -> Option<u32> {
        u32::try_from(self.labels[file]).ok()
    }

    fn class_names(&self) -> Option<Vec<String>> {
        self.class_names.clone()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>, DatasetError> {
    ParquetRecordBatchReaderBuilder::try_new(file_error::open(path)?)
        .map_err(|error| DatasetError::parquet("read", path, error))
}

/// The column that holds images: the first struct with a child `bytes`.
fn image_column(schema: &Schema) -> Option<&str> {
    let has_bytes = |children: &Fields| children.iter().any(|child| child.name() == "bytes");
    schema
        .fields()
        .iter()
        .find(
            |field| matches!(field.data_type(), DataType::Struct(children) if has_bytes(children)),
        )
        .map(|field| field.name().as_str())
}

/// The column that holds labels, by the names that data sets give it.
fn label_column(schema: &Schema) -> Option<&str> {
    ["label", "labels", "fine_label", "class", "target"]
        .into_iter()
        .find(|name| {
            schema
                .field_with_name(name)
                .is_ok_and(|field| field.data_type().is_integer())
        })
}

fn names(schema: &Schema) -> String {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("`{}`", field.name()))
        .collect();
    names.join(", ")
}

/// The names in the description that the Hub's library leaves in the file.
fn class_names(schema: &Schema, label: &str) -> Option<Vec<String>> {
    let description: Value = serde_json::from_str(schema.metadata().get("huggingface")?).ok()?;
    let names = &description["info"]["features"][label]["names"];
    names
        .as_array()?
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn bytes_of(image: &StructArray, index: usize) -> Option<Vec<u8>> {
    let bytes = image.column_by_name("bytes")?;
    if image.is_null(index) || bytes.is_null(index) {
        return None;
    }
    if let Some(bytes) = bytes.as_any().downcast_ref::<BinaryArray>() {
        return Some(bytes.value(index).to_vec());
    }
    let bytes = bytes.as_any().downcast_ref::<LargeBinaryArray>()?;
    Some(bytes.value(index).to_vec())
}
