//! The entries of files' key-value metadata.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::reader::{FileReader, SerializedFileReader};
use patchwork_core::file_error;

use crate::error::DatasetError;

/// The format's name and version.
pub const FORMAT: &str = "patchwork.shards/1";

/// The format's name and version.
pub const LATENT_FORMAT: &str = "patchwork.latents/1";

/// The formats of sets that this program writes.
const OWN_FORMATS: [&str; 2] = [FORMAT, LATENT_FORMAT];

pub(crate) const FORMAT_KEY: &str = "format";
pub(crate) const RESOLUTION_KEY: &str = "resolution";
pub(crate) const CHANNELS_KEY: &str = "channels";
pub(crate) const CLASS_NAMES_KEY: &str = "class_names";
pub(crate) const IMAGES_PER_SHARD_KEY: &str = "images_per_shard";

/// The metadata entries of a file of a set.
pub(crate) fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    let failed = |error| DatasetError::parquet("read", path, error);
    let file = SerializedFileReader::new(file_error::open(path)?).map_err(failed)?;
    Ok(from_key_values(file.metadata().file_metadata()))
}

/// Refuses a file of another format than is asked for.
pub(crate) fn check_format(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    wanted: &str,
) -> Result<(), DatasetError> {
    match metadata.get(FORMAT_KEY) {
        Some(format) if format == wanted => Ok(()),
        Some(format) if OWN_FORMATS.contains(&format.as_str()) => Err(DatasetError::OtherFormat {
            path: path.to_owned(),
            format: format.clone(),
            wanted: wanted.to_owned(),
        }),
        Some(format) => Err(wrong_entry(path, FORMAT_KEY, format)),
        None => Err(DatasetError::malformed(
            path,
            format!("its metadata is missing `{FORMAT_KEY}`"),
        )),
    }
}

/// Takes an entry that a file's metadata must have.
pub(crate) fn take_entry(
    path: &Path,
    metadata: &mut BTreeMap<String, String>,
    key: &str,
) -> Result<String, DatasetError> {
    metadata
        .remove(key)
        .ok_or_else(|| DatasetError::malformed(path, format!("its metadata is missing `{key}`")))
}

/// An entry of a file's metadata with an impossible value.
pub(crate) fn wrong_entry(path: &Path, key: &str, value: &str) -> DatasetError {
    DatasetError::malformed(path, format!("its metadata has `{key}` = `{value}`"))
}

pub(super) fn to_key_values(metadata: BTreeMap<String, String>) -> Vec<KeyValue> {
    metadata
        .into_iter()
        .map(|(key, value)| KeyValue {
            key,
            value: Some(value),
        })
        .collect()
}

/// A file's own metadata entries, without those of the Arrow library.
pub(super) fn from_key_values(file: &FileMetaData) -> BTreeMap<String, String> {
    file.key_value_metadata()
        .into_iter()
        .flatten()
        .filter(|entry| entry.key != parquet::arrow::ARROW_SCHEMA_META_KEY)
        .filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?)))
        .collect()
}
