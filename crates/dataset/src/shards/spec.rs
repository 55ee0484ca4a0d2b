//! What a set of shards says of itself, and the rows that go into it.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::reader::{FileReader, SerializedFileReader};
use patchwork_core::file_error;
use patchwork_core::limits::{LARGEST_SHARD_BYTES, most_images_per_shard};
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use crate::error::DatasetError;

/// The format's name and version.
pub const FORMAT: &str = "patchwork.shards/1";

/// The index of a set.
pub const INDEX_FILE: &str = "index.parquet";

/// The list of images that were left out.
pub const REJECTED_FILE: &str = "rejected.parquet";

const FORMAT_KEY: &str = "format";
const RESOLUTION_KEY: &str = "resolution";
const CHANNELS_KEY: &str = "channels";
const CLASS_NAMES_KEY: &str = "class_names";
const IMAGES_PER_SHARD_KEY: &str = "images_per_shard";

/// A shard's own entries: the id of its first image, and the images that were left out on the way to it.
pub(super) const FIRST_ID_KEY: &str = "first_id";
pub(super) const REJECTED_KEY: &str = "rejected";

/// The file name of a shard.
pub(crate) fn shard_file_name(shard: usize) -> String {
    format!("shard-{shard:05}.parquet")
}

/// The number of a shard, by its file name.
pub(super) fn shard_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("shard-")?.strip_suffix(".parquet")?;
    digits.parse().ok()
}

/// What all shards of a set have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// Width of an image in pixels.
    pub width: usize,
    /// Height of an image in pixels.
    pub height: usize,
    /// What a pixel holds.
    pub channels: Channels,
    /// The most rows in a shard.
    pub images_per_shard: usize,
    /// The names of the classes, by label; empty where images have none.
    pub class_names: Vec<String>,
    /// Further entries for the files' metadata, such as `transform` and `source_digest`.
    pub metadata: BTreeMap<String, String>,
}

impl ShardSpec {
    /// Bytes of an image.
    pub fn image_bytes(&self) -> usize {
        self.width * self.height * self.channels.count()
    }

    /// How many images of this size a shard can hold.
    pub fn most_images_per_shard(&self) -> usize {
        most_images_per_shard(self.image_bytes() as u64) as usize
    }

    /// Reads what a file of a set says of the set.
    pub(super) fn read(path: &Path) -> Result<Self, DatasetError> {
        let failed = |error| DatasetError::parquet("read", path, error);
        let file = SerializedFileReader::new(file_error::open(path)?).map_err(failed)?;
        let mut metadata = from_key_values(file.metadata().file_metadata());
        for own in [FIRST_ID_KEY, REJECTED_KEY] {
            metadata.remove(own);
        }
        Self::from_metadata(path, metadata)
    }

    pub(super) fn check(&self) -> Result<(), DatasetError> {
        let sides = 1..=usize::from(u16::MAX);
        if !sides.contains(&self.width) || !sides.contains(&self.height) {
            return Err(DatasetError::Setting {
                setting: "resolution",
                value: format!("{}x{}", self.width, self.height),
                problem: "a side lies between 1 and 65535 pixels".to_owned(),
            });
        }
        let most = self.most_images_per_shard();
        if self.images_per_shard == 0 || self.images_per_shard > most {
            return Err(DatasetError::Setting {
                setting: "images_per_shard",
                value: self.images_per_shard.to_string(),
                problem: format!(
                    "at {} x {} pixels it lies between 1 and {most}, which keeps a shard within {} MiB",
                    self.width,
                    self.height,
                    LARGEST_SHARD_BYTES >> 20
                ),
            });
        }
        Ok(())
    }

    /// The entries of a file's key-value metadata, sorted by key.
    pub(super) fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = self.metadata.clone();
        let class_names =
            serde_json::to_string(&self.class_names).expect("a list of strings is valid JSON");
        metadata.extend([
            (FORMAT_KEY.to_owned(), FORMAT.to_owned()),
            (
                RESOLUTION_KEY.to_owned(),
                format!("{}x{}", self.width, self.height),
            ),
            (CHANNELS_KEY.to_owned(), self.channels.count().to_string()),
            (CLASS_NAMES_KEY.to_owned(), class_names),
            (
                IMAGES_PER_SHARD_KEY.to_owned(),
                self.images_per_shard.to_string(),
            ),
        ]);
        metadata
    }

    /// Reads the spec back from a file's metadata.
    pub(super) fn from_metadata(
        path: &Path,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<Self, DatasetError> {
        let mut take = |key: &str| {
            metadata
                .remove(key)
                .ok_or_else(|| DatasetError::malformed(path, format!("its metadata lacks `{key}`")))
        };
        let wrong = |key: &str, value: &str| {
            DatasetError::malformed(path, format!("its metadata has `{key}` = `{value}`"))
        };
        let format = take(FORMAT_KEY)?;
        if format != FORMAT {
            return Err(wrong(FORMAT_KEY, &format));
        }
        let count = take(CHANNELS_KEY)?;
        let channels = count
            .parse()
            .ok()
            .and_then(|count: u32| Channels::try_from(count).ok());
        let channels = channels.ok_or_else(|| wrong(CHANNELS_KEY, &count))?;
        let resolution = take(RESOLUTION_KEY)?;
        let sides = resolution.split_once('x').and_then(|(width, height)| {
            Some((width.parse::<u16>().ok()?, height.parse::<u16>().ok()?))
        });
        let (width, height) = sides.ok_or_else(|| wrong(RESOLUTION_KEY, &resolution))?;
        let class_names = take(CLASS_NAMES_KEY)?;
        let images_per_shard = take(IMAGES_PER_SHARD_KEY)?;
        let spec = Self {
            width: width.into(),
            height: height.into(),
            channels,
            images_per_shard: images_per_shard
                .parse()
                .map_err(|_| wrong(IMAGES_PER_SHARD_KEY, &images_per_shard))?,
            class_names: serde_json::from_str(&class_names)
                .map_err(|_| wrong(CLASS_NAMES_KEY, &class_names))?,
            metadata,
        };
        spec.check()?;
        Ok(spec)
    }
}

/// One image on its way into a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the image in its source; for a sample, its seed.
    pub key: String,
    /// Index into the class names.
    pub label: Option<u32>,
    /// `[height, width, channels]`, u8.
    pub pixels: Vec<u8>,
    /// Width of the source image in pixels.
    pub source_width: u16,
    /// Height of the source image in pixels.
    pub source_height: u16,
}

/// An image that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Name of the image in its source.
    pub key: String,
    /// The cause, a lower-case fragment.
    pub cause: String,
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
