//! A shard file opened for reading: its small columns, and where its pixels lie.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use memmap2::Mmap;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use patchwork_core::file_error;

use super::digest::{DIGEST_BYTES, image_digest};
use super::metadata::from_key_values;
use super::record::SetSpec;
use crate::error::DatasetError;

/// The column of a set's images, and the bytes of each.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) column: &'static str,
    pub(super) bytes: usize,
}

impl Record {
    pub(super) fn of<S: SetSpec>(spec: &S) -> Self {
        Self {
            column: S::COLUMN,
            bytes: spec.record_bytes(),
        }
    }
}

/// A shard: its rows' small columns, and its pixels as they lie in the file.
pub(super) struct ShardFile {
    path: PathBuf,
    map: Mmap,
    pixels: Range<usize>,
    image_bytes: usize,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) ids: Vec<u64>,
    pub(super) labels: Vec<Option<i32>>,
    pub(super) digests: Vec<[u8; DIGEST_BYTES]>,
}

impl ShardFile {
    /// Opens a shard and checks the digests of its first and its last image, which a wrong place cannot pass; those
    /// of the others by [`image`](Self::image).
    pub(super) fn open(path: &Path, record: Record) -> Result<Self, DatasetError> {
        let shard = Self::open_unchecked(path, record)?;
        let rows = shard.ids.len();
        for row in [0, rows.saturating_sub(1)]
            .into_iter()
            .filter(|row| *row < rows)
        {
            shard.image(row)?;
        }
        Ok(shard)
    }

    /// Opens a shard and finds its pixels, which must lie contiguous and uncompressed, without reading them.
    pub(super) fn open_unchecked(path: &Path, record: Record) -> Result<Self, DatasetError> {
        let failed = |error| DatasetError::parquet("read", path, error);
        let file = file_error::open(path)?;
        let map = file_error::map(path, &file)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(failed)?;
        let parquet = builder.metadata().clone();
        let rows = parquet.file_metadata().num_rows() as usize;
        let pixels = pixel_range(&parquet, rows, record, map.len())
            .map_err(|problem| DatasetError::malformed(path, problem))?;

        let mut shard = Self {
            path: path.to_owned(),
            map,
            pixels,
            image_bytes: record.bytes,
            metadata: from_key_values(parquet.file_metadata()),
            ids: Vec::with_capacity(rows),
            labels: Vec::with_capacity(rows),
            digests: Vec::with_capacity(rows),
        };
        let columns = ProjectionMask::columns(builder.parquet_schema(), ["id", "label", "digest"]);
        for batch in builder.with_projection(columns).build().map_err(failed)? {
            shard.append(&batch.map_err(|error| DatasetError::parquet("read", path, error))?)?;
        }
        if shard.ids.len() != rows {
            return Err(DatasetError::malformed(
                path,
                format!("it has {} of {rows} rows", shard.ids.len()),
            ));
        }
        Ok(shard)
    }

    /// The place of an image's first byte in the file.
    pub(super) fn offset(&self, row: usize) -> u64 {
        (self.pixels.start + row * self.image_bytes) as u64
    }

    /// An image's pixels and digest, checked against each other.
    pub(super) fn image(&self, row: usize) -> Result<(&[u8], [u8; DIGEST_BYTES]), DatasetError> {
        let pixels = self.pixels(row);
        let digest = image_digest(pixels);
        if digest != self.digests[row] {
            let problem =
                format!("the pixels of row {row} do not have the digest recorded for them");
            return Err(DatasetError::malformed(&self.path, problem));
        }
        Ok((pixels, digest))
    }

    /// An image's pixels, as they are.
    pub(super) fn pixels(&self, row: usize) -> &[u8] {
        &self.map[self.pixels.clone()][row * self.image_bytes..][..self.image_bytes]
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<(), DatasetError> {
        let missing = |column: &str| {
            DatasetError::malformed(&self.path, format!("it is missing the column `{column}`"))
        };
        let ids = batch
            .column_by_name("id")
            .and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let labels = batch
            .column_by_name("label")
            .and_then(|column| column.as_primitive_opt::<Int32Type>());
        let digests = batch
            .column_by_name("digest")
            .and_then(|column| column.as_fixed_size_binary_opt());
        let ids = ids.ok_or_else(|| missing("id"))?;
        let labels = labels.ok_or_else(|| missing("label"))?;
        let digests = digests
            .filter(|digests| digests.value_length() as usize == DIGEST_BYTES)
            .ok_or_else(|| missing("digest"))?;
        self.ids.extend_from_slice(ids.values());
        self.labels.extend(labels.iter());
        self.digests.extend((0..digests.len()).map(|row| {
            *digests
                .value(row)
                .first_chunk()
                .expect("the column's width was checked above")
        }));
        Ok(())
    }
}

/// The names of a shard's images in their source.
pub(super) fn read_keys(path: &Path) -> Result<Vec<String>, DatasetError> {
    let failed = |error| DatasetError::parquet("read", path, error);
    let missing = || DatasetError::malformed(path, "it is missing the column `key`");
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file_error::open(path)?).map_err(failed)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["key"]);
    let mut keys = Vec::new();
    for batch in builder.with_projection(columns).build().map_err(failed)? {
        let batch = batch.map_err(|error| DatasetError::parquet("read", path, error))?;
        let column = batch.column_by_name("key").ok_or_else(missing)?;
        let column = column.as_string_opt::<i32>().ok_or_else(missing)?;
        keys.extend(column.iter().map(|key| key.unwrap_or_default().to_owned()));
    }
    Ok(keys)
}

/// Where the pixels lie: the image column is one PLAIN page, whose values end where the page ends.
fn pixel_range(
    parquet: &ParquetMetaData,
    rows: usize,
    record: Record,
    file_bytes: usize,
) -> Result<Range<usize>, String> {
    if rows == 0 {
        return Ok(0..0);
    }
    let [group] = parquet.row_groups() else {
        return Err(format!(
            "it has {} row groups instead of one",
            parquet.num_row_groups()
        ));
    };
    let position = group
        .columns()
        .iter()
        .position(|column| column.column_path().string() == record.column);
    let position =
        position.ok_or_else(|| format!("it is missing the column `{}`", record.column))?;
    let column = group.column(position);
    if column.compression() != Compression::UNCOMPRESSED
        || column.dictionary_page_offset().is_some()
    {
        return Err("its images are compressed".to_owned());
    }
    let index = parquet.page_index_for_row_group(0);
    let pages = index
        .offset_index(position)
        .map_or(&[][..], |index| index.page_locations());
    let [page] = pages else {
        return Err(format!(
            "its images lie in {} pages instead of one",
            pages.len()
        ));
    };
    let end = page.offset + i64::from(page.compressed_page_size);
    let length = rows
        .checked_mul(record.bytes)
        .ok_or("its number of rows is not sound")?;
    let end = usize::try_from(end).ok().filter(|end| *end <= file_bytes);
    let start = end.and_then(|end| end.checked_sub(length));
    match (start, end) {
        (Some(start), Some(end)) if start as i64 > page.offset => Ok(start..end),
        _ => Err("its images do not lie within the file".to_owned()),
    }
}
