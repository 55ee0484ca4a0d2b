//! Writing Parquet files durably, with bytes that depend on nothing but the content.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int32Array, StringArray, UInt16Array, UInt64Array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use patchwork_core::durable::DurableFile;
use patchwork_core::limits::LARGEST_SHARD_BYTES;

use super::digest::{DIGEST_BYTES, image_digest};
use super::file::Record;
use super::spec::Row;
use crate::error::DatasetError;

/// Writes a shard. The rows' bytes must all be as many as `record` says.
pub(super) fn write_shard_file(
    path: &Path,
    rows: Vec<Row>,
    first_id: u64,
    record: Record,
    metadata: Vec<KeyValue>,
) -> Result<(), DatasetError> {
    let batch = shard_batch(rows, first_id, record)
        .map_err(|error| DatasetError::parquet("write", path, error))?;
    let image = || ColumnPath::from(record.column);
    // The limits on rows and bytes of a page are what else would cut the pixels into several pages.
    let properties = properties(metadata)
        .set_column_data_page_size_limit(image(), 2 * LARGEST_SHARD_BYTES as usize)
        .set_column_data_page_row_count_limit(image(), usize::MAX)
        .set_column_statistics_enabled(image(), EnabledStatistics::None)
        .set_max_row_group_row_count(Some(usize::max(1, batch.num_rows())));
    write_batch(path, &batch, properties)
}

/// Writes a table in one row group with the given metadata.
pub(super) fn write_table(
    path: &Path,
    batch: &RecordBatch,
    metadata: Vec<KeyValue>,
) -> Result<(), DatasetError> {
    write_batch(path, batch, properties(metadata))
}

/// A non-nullable FixedSizeBinary column from values laid end to end.
pub(super) fn fixed_size_column(
    bytes: Vec<u8>,
    size: usize,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    Ok(Arc::new(FixedSizeBinaryArray::try_new(
        size as i32,
        Buffer::from_vec(bytes),
        None,
    )?))
}

fn properties(metadata: Vec<KeyValue>) -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(metadata))
}

fn write_batch(
    path: &Path,
    batch: &RecordBatch,
    properties: WriterPropertiesBuilder,
) -> Result<(), DatasetError> {
    let failed = |error| DatasetError::parquet("write", path, error);
    let file = DurableFile::create(path)?;
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.into_inner().map_err(failed)?.commit()?;
    Ok(())
}

fn shard_batch(
    rows: Vec<Row>,
    first_id: u64,
    record: Record,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let count = rows.len();
    let mut keys = Vec::with_capacity(count);
    let mut labels = Vec::with_capacity(count);
    let mut pixels = Vec::with_capacity(count * record.bytes);
    let mut digests = Vec::with_capacity(count * DIGEST_BYTES);
    let mut sides = (Vec::with_capacity(count), Vec::with_capacity(count));
    // Each row is freed as it is taken over, so that the pixels are held once.
    for row in rows {
        keys.push(row.key);
        labels.push(row.label.map(|label| label as i32));
        digests.extend_from_slice(&image_digest(&row.pixels));
        pixels.extend_from_slice(&row.pixels);
        sides.0.push(row.source_width);
        sides.1.push(row.source_height);
    }
    let schema = Schema::new(vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("key", DataType::Utf8, false),
        Field::new("label", DataType::Int32, true),
        Field::new(
            record.column,
            DataType::FixedSizeBinary(record.bytes as i32),
            false,
        ),
        Field::new(
            "digest",
            DataType::FixedSizeBinary(DIGEST_BYTES as i32),
            false,
        ),
        Field::new("source_width", DataType::UInt16, false),
        Field::new("source_height", DataType::UInt16, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(
            first_id..first_id + count as u64,
        )),
        Arc::new(StringArray::from_iter_values(keys)),
        Arc::new(Int32Array::from(labels)),
        fixed_size_column(pixels, record.bytes)?,
        fixed_size_column(digests, DIGEST_BYTES)?,
        Arc::new(UInt16Array::from(sides.0)),
        Arc::new(UInt16Array::from(sides.1)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
}
