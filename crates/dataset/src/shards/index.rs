//! `index.parquet`: where each image's pixels lie, with labels, digests and moments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Int32Array, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use patchwork_core::file_error;
use rayon::prelude::*;

use super::digest::DIGEST_BYTES;
use super::file::ShardFile;
use super::metadata::{from_key_values, to_key_values};
use super::record::{Moments, SetSpec};
use super::spec::{Rejected, ShardSpec};
use super::write::{fixed_size_column, write_table};
use crate::error::DatasetError;

/// What the index says of an image.
pub(super) struct IndexRow {
    id: u64,
    label: Option<i32>,
    shard: u32,
    offset: u64,
    digest: [u8; DIGEST_BYTES],
    /// Of each channel.
    moments: Vec<Moments>,
}

/// Reads every image of a shard, checks its digest, and describes it.
pub(super) fn describe<S: SetSpec>(
    shard: &ShardFile,
    number: usize,
    spec: &S,
) -> Result<Vec<IndexRow>, DatasetError> {
    (0..shard.ids.len())
        .into_par_iter()
        .map(|row| {
            let (record, digest) = shard.image(row)?;
            Ok(IndexRow {
                id: shard.ids[row],
                label: shard.labels[row],
                shard: number as u32,
                offset: shard.offset(row),
                digest,
                moments: spec.moments(record),
            })
        })
        .collect()
}

/// Writes the index of a set.
pub(super) fn write_index<S: SetSpec>(
    path: &Path,
    spec: &S,
    rows: &[IndexRow],
) -> Result<(), DatasetError> {
    let batch = index_batch(&spec.channel_suffixes(), rows)
        .map_err(|error| DatasetError::parquet("write", path, error))?;
    let mut metadata = spec.to_metadata();
    metadata.extend(spec.summary(rows.iter().map(|row| row.moments.as_slice())));
    write_table(path, &batch, to_key_values(metadata))
}

fn index_batch(suffixes: &[String], rows: &[IndexRow]) -> Result<RecordBatch, ArrowError> {
    let digests = rows.iter().flat_map(|row| row.digest).collect();
    let ids = UInt64Array::from_iter_values(rows.iter().map(|row| row.id));
    let labels: Int32Array = rows.iter().map(|row| row.label).collect();
    let shards = UInt32Array::from_iter_values(rows.iter().map(|row| row.shard));
    let offsets = UInt64Array::from_iter_values(rows.iter().map(|row| row.offset));
    let mut columns: Vec<(String, bool, ArrayRef)> = vec![
        ("id".to_owned(), false, Arc::new(ids)),
        ("label".to_owned(), true, Arc::new(labels)),
        ("shard".to_owned(), false, Arc::new(shards)),
        ("offset".to_owned(), false, Arc::new(offsets)),
        (
            "digest".to_owned(),
            false,
            fixed_size_column(digests, DIGEST_BYTES)?,
        ),
    ];
    for (channel, suffix) in suffixes.iter().enumerate() {
        let means = rows.iter().map(|row| row.moments[channel].mean);
        let means = Arc::new(Float32Array::from_iter_values(means));
        columns.push((format!("mean_{suffix}"), false, means));
    }
    for (channel, suffix) in suffixes.iter().enumerate() {
        let deviations = rows.iter().map(|row| row.moments[channel].deviation);
        let deviations = Arc::new(Float32Array::from_iter_values(deviations));
        columns.push((format!("std_{suffix}"), false, deviations));
    }
    table(columns)
}

/// Writes the list of rejected images.
pub(super) fn write_rejected<S: SetSpec>(
    path: &Path,
    spec: &S,
    rejected: &[Rejected],
) -> Result<(), DatasetError> {
    let keys = StringArray::from_iter_values(rejected.iter().map(|image| &image.key));
    let causes = StringArray::from_iter_values(rejected.iter().map(|image| &image.cause));
    let batch = table(vec![
        ("key".to_owned(), false, Arc::new(keys)),
        ("cause".to_owned(), false, Arc::new(causes)),
    ])
    .map_err(|error| DatasetError::parquet("write", path, error))?;
    write_table(path, &batch, to_key_values(spec.to_metadata()))
}

fn table(columns: Vec<(String, bool, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, values)| {
            let data_type: &DataType = values.data_type();
            Field::new(name, data_type.clone(), *nullable)
        })
        .collect();
    let values = columns.into_iter().map(|(_, _, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values)
}

/// What the loader needs of the index: per image, its label and where its pixels lie.
pub(crate) struct Index<S> {
    pub(crate) spec: S,
    /// All entries of its metadata, those of the spec included.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) labels: Vec<Option<u32>>,
    /// Shard and offset in its file.
    pub(crate) places: Vec<(u32, u64)>,
    pub(super) digests: Vec<[u8; DIGEST_BYTES]>,
}

/// Reads an index whole and checks that its ids are dense and its labels have names.
pub(crate) fn read_index<S: SetSpec>(path: &Path) -> Result<Index<S>, DatasetError> {
    let failed = |error| DatasetError::parquet("read", path, error);
    let malformed = |problem: String| DatasetError::malformed(path, problem);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file_error::open(path)?).map_err(failed)?;
    let metadata: BTreeMap<String, String> = from_key_values(builder.metadata().file_metadata());
    let spec = S::from_metadata(path, metadata.clone())?;
    let names = ["id", "label", "shard", "offset", "digest"];
    let columns = ProjectionMask::columns(builder.parquet_schema(), names);
    let (mut labels, mut places, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    for batch in builder.with_projection(columns).build().map_err(failed)? {
        let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
        let missing = |name: &str| malformed(format!("it is missing the column `{name}`"));
        let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| missing(name));
        let ids = column("id")?
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| missing("id"))?;
        let label = column("label")?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(|| missing("label"))?;
        let shard = column("shard")?
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| missing("shard"))?;
        let offset = column("offset")?
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| missing("offset"))?;
        let digest = column("digest")?
            .as_fixed_size_binary_opt()
            .filter(|digest| digest.value_length() as usize == DIGEST_BYTES)
            .ok_or_else(|| missing("digest"))?;
        for row in 0..batch.num_rows() {
            let number = places.len();
            if ids.value(row) != number as u64 {
                return Err(malformed(format!(
                    "row {number} has the id {}",
                    ids.value(row)
                )));
            }
            let value = label.is_valid(row).then(|| label.value(row));
            if value.is_some_and(|value| value < 0 || value as usize >= spec.class_names().len()) {
                return Err(malformed(format!(
                    "row {number} has a label without a class name"
                )));
            }
            labels.push(value.map(|value| value as u32));
            places.push((shard.value(row), offset.value(row)));
            let digest = digest.value(row).first_chunk();
            digests.push(*digest.expect("the column's width was checked above"));
        }
    }
    if places.is_empty() {
        return Err(malformed("it lists no images".to_owned()));
    }
    Ok(Index {
        spec,
        metadata,
        labels,
        places,
        digests,
    })
}

/// The digest of each image's pixels, by the index.
pub(crate) fn read_digests(path: &Path) -> Result<Vec<[u8; DIGEST_BYTES]>, DatasetError> {
    Ok(read_index::<ShardSpec>(path)?.digests)
}
