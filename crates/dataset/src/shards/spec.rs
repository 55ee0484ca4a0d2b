//! What a set of shards says of itself, and the rows that go into it.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::limits::{LARGEST_SHARD_BYTES, most_images_per_shard};
use serde::{Deserialize, Serialize};

use super::channels::{Channels, channel_names};
use super::metadata::{
    CHANNELS_KEY, CLASS_NAMES_KEY, FORMAT, FORMAT_KEY, IMAGES_PER_SHARD_KEY, RESOLUTION_KEY,
    check_format, read_metadata, take_entry, wrong_entry,
};
use super::record::{Moments, SetSpec};
use crate::error::DatasetError;

/// The index of a set.
pub const INDEX_FILE: &str = "index.parquet";

/// The list of images that were left out.
pub const REJECTED_FILE: &str = "rejected.parquet";

/// A shard's own entries: the id of its first image, and the images that were left out on the way to it.
pub(super) const FIRST_ID_KEY: &str = "first_id";
pub(super) const REJECTED_KEY: &str = "rejected";

/// The file name of a shard.
pub(crate) fn shard_file_name(shard: usize) -> String {
    format!("shard-{shard:05}.parquet")
}

/// Whether a folder is a prepared data set rather than raw images, by its index or its first shard.
pub fn is_prepared(folder: &Path) -> bool {
    folder.join(INDEX_FILE).is_file() || folder.join(shard_file_name(0)).is_file()
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
}

/// Reads what a file of a set says of the set.
pub(super) fn read_spec<S: SetSpec>(path: &Path) -> Result<S, DatasetError> {
    let mut metadata = read_metadata(path)?;
    for own in [FIRST_ID_KEY, REJECTED_KEY] {
        metadata.remove(own);
    }
    S::from_metadata(path, metadata)
}

impl SetSpec for ShardSpec {
    const FORMAT: &'static str = FORMAT;
    const COLUMN: &'static str = "image";

    fn record_bytes(&self) -> usize {
        self.image_bytes()
    }

    fn images_per_shard(&self) -> usize {
        self.images_per_shard
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn description(&self) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "{width} x {height} pixels with {} channels",
            self.channels.count()
        )
    }

    fn channel_suffixes(&self) -> Vec<String> {
        let names = channel_names(self.channels).iter();
        names.map(|(_, short)| (*short).to_owned()).collect()
    }

    fn moments(&self, pixels: &[u8]) -> Vec<Moments> {
        match self.channels {
            Channels::Grey => moments::<1>(pixels).to_vec(),
            Channels::Rgb => moments::<3>(pixels).to_vec(),
        }
    }

    fn check(&self) -> Result<(), DatasetError> {
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

    fn to_metadata(&self) -> BTreeMap<String, String> {
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

    fn from_metadata(
        path: &Path,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<Self, DatasetError> {
        check_format(path, &metadata, FORMAT)?;
        let mut take = |key: &str| take_entry(path, &mut metadata, key);
        let wrong = |key: &str, value: &str| wrong_entry(path, key, value);
        take(FORMAT_KEY)?;
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

/// Mean and standard deviation of each channel, from exact integer sums.
fn moments<const CHANNELS: usize>(pixels: &[u8]) -> [Moments; CHANNELS] {
    let (mut sums, mut squares) = ([0u64; CHANNELS], [0u64; CHANNELS]);
    for pixel in pixels.as_chunks::<CHANNELS>().0 {
        for channel in 0..CHANNELS {
            let value = u64::from(pixel[channel]);
            sums[channel] += value;
            squares[channel] += value * value;
        }
    }
    let count = (pixels.len() / CHANNELS) as u64;
    std::array::from_fn(|channel| {
        let sum = u128::from(sums[channel]);
        let scaled = u128::from(count) * u128::from(squares[channel]) - sum * sum;
        Moments {
            mean: (sums[channel] as f64 / count as f64) as f32,
            deviation: ((scaled as f64).sqrt() / count as f64) as f32,
        }
    })
}

/// One image on its way into a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the image in its source; for a sample, its seed.
    pub key: String,
    /// Index into the class names.
    pub label: Option<u32>,
    /// Its bytes: of pixels `[height, width, channels]`, u8; of latents see [`LatentSpec::row`](crate::latents::LatentSpec::row).
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

#[cfg(test)]
mod tests {
    use super::{Moments, moments};

    #[test]
    fn moments_are_exact() {
        let pixels = [0, 10, 255, 2, 10, 255, 4, 10, 0, 6, 10, 0];
        let of = |mean, deviation| Moments { mean, deviation };
        let expected = [of(3.0, 5f32.sqrt()), of(10.0, 0.0), of(127.5, 127.5)];
        assert_eq!(moments::<3>(&pixels), expected);
        assert_eq!(moments::<1>(&[0, 2, 4, 6]), [of(3.0, 5f32.sqrt())]);
    }
}
