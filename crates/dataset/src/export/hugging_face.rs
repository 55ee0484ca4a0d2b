//! Parquet files as Hugging Face's `datasets` writes and reads them.
//!
//! `data/train-00000-of-00002.parquet`, ...: `image` is `struct<bytes: binary, path: string>` with a PNG file and the
//! image's name in its source, `label` an Int64 where there are classes; the entry `huggingface` of the metadata says
//! that these are an `Image` and a `ClassLabel` with its names.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use patchwork_core::durable::{self, DurableFile};
use serde_json::json;

use super::progress::ExportProgress;
use super::selection::Selection;
use crate::error::DatasetError;
use crate::shards::KeyReader;

/// Pixel bytes in a file, of which PNG leaves half: near the size that the hub's own tools cut at.
const FILE_BYTES: usize = 512 << 20;

/// Rows in a row group, so that one image is read without many others.
const GROUP_ROWS: usize = 100;

pub(super) fn write(
    selection: &Selection<'_>,
    folder: &Path,
    progress: &mut ExportProgress<'_>,
) -> Result<(), DatasetError> {
    let data = folder.join("data");
    durable::create_dir_all(&data)?;
    let rows_per_file = usize::max(1, FILE_BYTES / selection.set.spec().image_bytes());
    let files = selection.images.len().div_ceil(rows_per_file);
    let schema = schema(selection.set.class_names());
    let mut keys = KeyReader::new(selection.folder, selection.set);
    let mut open: Option<OpenFile<'_>> = None;
    let mut group = Group::default();
    selection.for_each_png(progress, |number, image, png| {
        if number % rows_per_file == 0 {
            let path = data.join(format!(
                "train-{:05}-of-{files:05}.parquet",
                number / rows_per_file
            ));
            open = Some(OpenFile::create(&path, &schema)?);
        }
        group.pngs.push(png);
        group.keys.push(keys.key(image)?);
        group.labels.push(selection.set.label(image).map(i64::from));
        let last = number + 1 == selection.images.len();
        let file_ends = last || (number + 1) % rows_per_file == 0;
        if file_ends || group.pngs.len() == GROUP_ROWS {
            let file = open.as_mut().expect("the first row of a file opens it");
            file.write(std::mem::take(&mut group))?;
        }
        if file_ends {
            let file = open.take().expect("the first row of a file opens it");
            file.finish()?;
        }
        Ok(())
    })
}

/// The rows of a row group.
#[derive(Default)]
struct Group {
    pngs: Vec<Vec<u8>>,
    keys: Vec<String>,
    labels: Vec<Option<i64>>,
}

fn image_fields() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

/// The columns, and what Hugging Face calls their features.
fn schema(class_names: &[String]) -> SchemaRef {
    let mut fields = vec![Field::new("image", DataType::Struct(image_fields()), true)];
    let mut features = json!({ "image": { "_type": "Image" } });
    if !class_names.is_empty() {
        fields.push(Field::new("label", DataType::Int64, true));
        features["label"] = json!({ "names": class_names, "_type": "ClassLabel" });
    }
    let info = json!({ "info": { "features": features } }).to_string();
    Arc::new(Schema::new_with_metadata(
        fields,
        [("huggingface".to_owned(), info)],
    ))
}

struct OpenFile<'a> {
    path: std::path::PathBuf,
    schema: &'a SchemaRef,
    writer: ArrowWriter<DurableFile>,
}

impl<'a> OpenFile<'a> {
    fn create(path: &Path, schema: &'a SchemaRef) -> Result<Self, DatasetError> {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(
                schema
                    .metadata()
                    .iter()
                    .map(|(key, value)| {
                        parquet::file::metadata::KeyValue::new(key.clone(), value.clone())
                    })
                    .collect(),
            ))
            .build();
        let file = DurableFile::create(path)?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|error| DatasetError::parquet("write", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            schema,
            writer,
        })
    }

    fn write(&mut self, group: Group) -> Result<(), DatasetError> {
        let batch = batch(self.schema, group)
            .map_err(|error| DatasetError::parquet("write", &self.path, error))?;
        self.writer
            .write(&batch)
            .map_err(|error| DatasetError::parquet("write", &self.path, error))
    }

    fn finish(self) -> Result<(), DatasetError> {
        let file = self
            .writer
            .into_inner()
            .map_err(|error| DatasetError::parquet("write", &self.path, error))?;
        Ok(file.commit()?)
    }
}

fn batch(schema: &SchemaRef, group: Group) -> Result<RecordBatch, ArrowError> {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(group.pngs));
    let paths: ArrayRef = Arc::new(StringArray::from(group.keys));
    let images = StructArray::try_new(image_fields(), vec![bytes, paths], None)?;
    let mut columns: Vec<ArrayRef> = vec![Arc::new(images)];
    if schema.fields().len() > 1 {
        columns.push(Arc::new(Int64Array::from(group.labels)));
    }
    RecordBatch::try_new(schema.clone(), columns)
}
