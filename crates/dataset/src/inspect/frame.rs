//! Columns of Parquet files as frames of polars.
//!
//! The files are read by the one Parquet library that also writes them; polars computes with what is in them.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float32Type, Int32Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use patchwork_core::file_error;
use polars::prelude::{
    BinaryChunked, Column, DataFrame, Float32Chunked, Int32Chunked, IntoColumn, NewChunkedArray,
    PolarsResult, StringChunked, UInt32Chunked, UInt64Chunked,
};

use super::failed;
use crate::error::DatasetError;

/// Rows that are read at once.
const BATCH_ROWS: usize = 1 << 16;

/// The columns of a file that are wanted and of a type that our files have, in one piece each.
pub(super) fn read_columns(
    path: &Path,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<DataFrame, DatasetError> {
    let unreadable = |error| DatasetError::parquet("read", path, error);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file_error::open(path)?).map_err(unreadable)?;
    let schema = builder.parquet_schema();
    let leaves = schema.columns().iter().enumerate();
    let wanted = leaves.filter(|(_, leaf)| is_wanted(leaf.name()));
    let columns = ProjectionMask::leaves(schema, wanted.map(|(index, _)| index));
    let reader = builder
        .with_projection(columns)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(unreadable)?;
    let nothing = RecordBatch::new_empty(reader.schema());
    let mut all = frame(&nothing).map_err(|error| failed(path, error))?;
    for batch in reader {
        let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
        let stacked = frame(&batch).and_then(|batch| all.vstack_mut_owned(batch).map(|_| ()));
        stacked.map_err(|error| failed(path, error))?;
    }
    all.rechunk_mut();
    Ok(all)
}

fn frame(batch: &RecordBatch) -> PolarsResult<DataFrame> {
    let fields = batch.schema();
    let columns = fields.fields().iter().zip(batch.columns());
    let columns = columns.filter_map(|(field, values)| column(field.name(), values));
    DataFrame::new(batch.num_rows(), columns.collect())
}

/// Values under a name; numbers of 16 bits become wider.
fn column(name: &str, values: &dyn Array) -> Option<Column> {
    let name = name.into();
    Some(match values.data_type() {
        DataType::UInt16 => {
            let values = values.as_primitive::<UInt16Type>().iter();
            let values = values.map(|value| value.map(u32::from));
            UInt32Chunked::from_iter_options(name, values).into_column()
        }
        DataType::UInt32 => {
            let values = values.as_primitive::<UInt32Type>().iter();
            UInt32Chunked::from_iter_options(name, values).into_column()
        }
        DataType::UInt64 => {
            let values = values.as_primitive::<UInt64Type>().iter();
            UInt64Chunked::from_iter_options(name, values).into_column()
        }
        DataType::Int32 => {
            let values = values.as_primitive::<Int32Type>().iter();
            Int32Chunked::from_iter_options(name, values).into_column()
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().iter();
            Float32Chunked::from_iter_options(name, values).into_column()
        }
        DataType::Utf8 => {
            let values = values.as_string::<i32>().iter();
            StringChunked::from_iter_options(name, values).into_column()
        }
        DataType::FixedSizeBinary(_) => {
            let values = values.as_fixed_size_binary().iter();
            BinaryChunked::from_iter_options(name, values).into_column()
        }
        _ => return None,
    })
}
