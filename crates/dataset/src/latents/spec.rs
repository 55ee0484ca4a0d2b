//! What a set of latents says of itself.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use patchwork_core::Digest;
use patchwork_core::limits::{LARGEST_SHARD_BYTES, most_images_per_shard};
use patchwork_terms::PixelRange;
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::shards::metadata::{
    CHANNELS_KEY, CLASS_NAMES_KEY, FORMAT_KEY, IMAGES_PER_SHARD_KEY, LATENT_FORMAT, RESOLUTION_KEY,
    check_format, take_entry, wrong_entry,
};
use crate::shards::{Moments, Row, SetSpec};

const FACTOR_KEY: &str = "factor";
const PIXEL_RANGE_KEY: &str = "pixel_range";
const SCALING_FACTOR_KEY: &str = "scaling_factor";
const SHIFT_FACTOR_KEY: &str = "shift_factor";
const ENCODER_KEY: &str = "encoder";
const MEAN_KEY: &str = "latent_mean";
const DEVIATION_KEY: &str = "latent_std";

/// What stands for the encoder of latents that were made by another program.
const EXTERNAL: &str = "external";

/// What all shards of a set of latents have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentSpec {
    /// Latents along a row of an image.
    pub width: usize,
    /// Latents along a column of an image.
    pub height: usize,
    /// Channels of the latents.
    pub channels: usize,
    /// Pixels along a side of an image for one latent.
    pub factor: usize,
    /// The most rows in a shard.
    pub images_per_shard: usize,
    /// The names of the classes, by label; empty where images have none.
    pub class_names: Vec<String>,
    /// The range of the pixels that were encoded.
    pub pixel_range: PixelRange,
    /// What the autoencoder's makers multiply its latents by.
    pub scaling_factor: f64,
    /// What they subtract before that.
    pub shift_factor: f64,
    /// The digest of the encoder's tensors; none of latents that were made by another program.
    pub encoder: Option<Digest>,
    /// Further entries for the files' metadata, such as the digest of the images and the precision.
    pub metadata: BTreeMap<String, String>,
}

impl LatentSpec {
    /// Latents of an image.
    pub fn values(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// How many images of this size a shard can hold.
    pub fn most_images_per_shard(&self) -> usize {
        most_images_per_shard(self.record_bytes() as u64) as usize
    }

    /// An image's row: its moments, rounded to f16.
    ///
    /// # Shapes
    /// - `mean`, `log_variance`: `[channels, height, width]`, raw
    ///
    /// # Errors
    /// [`DatasetError::Latents`] for a value that is not finite or beyond f16; [`DatasetError::Length`].
    pub fn row(
        &self,
        key: String,
        label: Option<u32>,
        mean: &[f32],
        log_variance: &[f32],
    ) -> Result<Row, DatasetError> {
        let mut record = Vec::with_capacity(self.record_bytes());
        for (what, values) in [("mean", mean), ("log-variance", log_variance)] {
            if values.len() != self.values() {
                return Err(DatasetError::Length {
                    what: format!("the {what} of `{key}`, of {}", self.description()),
                    actual: values.len(),
                    expected: self.values(),
                });
            }
            let mut rounded = vec![f16::ZERO; values.len()];
            rounded.convert_from_f32_slice(values);
            if let Some(at) = rounded.iter().position(|value| !value.is_finite()) {
                let problem = format!(
                    "its {what} has {} in channel {}",
                    values[at],
                    self.channel(at)
                );
                return Err(DatasetError::Latents { key, problem });
            }
            record.extend(rounded.iter().flat_map(|value| value.to_le_bytes()));
        }
        let pixels = |latents: usize| u16::try_from(latents * self.factor).unwrap_or(u16::MAX);
        Ok(Row {
            key,
            label,
            pixels: record,
            source_width: pixels(self.width),
            source_height: pixels(self.height),
        })
    }

    fn channel(&self, value: usize) -> usize {
        value / (self.height * self.width)
    }
}

impl SetSpec for LatentSpec {
    const FORMAT: &'static str = LATENT_FORMAT;
    const COLUMN: &'static str = "moments";

    fn record_bytes(&self) -> usize {
        2 * self.values() * size_of::<f16>()
    }

    fn images_per_shard(&self) -> usize {
        self.images_per_shard
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn description(&self) -> String {
        let (width, height) = (self.width, self.height);
        format!("{width} x {height} latents with {} channels", self.channels)
    }

    fn channel_suffixes(&self) -> Vec<String> {
        (0..self.channels)
            .map(|channel| channel.to_string())
            .collect()
    }

    /// Of draws from the distributions: the variance is that of the means and the mean of the variances.
    fn moments(&self, record: &[u8]) -> Vec<Moments> {
        let values = decode(record);
        let (means, log_variances) = values.split_at(self.values());
        let area = self.height * self.width;
        let channels = means
            .chunks_exact(area)
            .zip(log_variances.chunks_exact(area));
        channels
            .map(|(means, log_variances)| {
                let count = area as f64;
                let sum = |each: &dyn Fn(f64) -> f64, of: &[f32]| -> f64 {
                    of.iter().map(|value| each(f64::from(*value))).sum::<f64>() / count
                };
                let mean = sum(&|value| value, means);
                let variance = sum(&|value| (value - mean).powi(2), means);
                let spread = sum(&f64::exp, log_variances);
                Moments {
                    mean: mean as f32,
                    deviation: (variance + spread).sqrt() as f32,
                }
            })
            .collect()
    }

    fn check(&self) -> Result<(), DatasetError> {
        let setting = |setting, value: String, problem: String| DatasetError::Setting {
            setting,
            value,
            problem,
        };
        let sides = 1..=usize::from(u16::MAX);
        let is_possible = [
            self.width,
            self.height,
            self.width * self.factor,
            self.height * self.factor,
        ]
        .iter()
        .all(|side| sides.contains(side));
        if !is_possible || self.channels == 0 || self.factor == 0 {
            let problem = "it is not a size of latents".to_owned();
            return Err(setting("latents", self.description(), problem));
        }
        let most = self.most_images_per_shard();
        if self.images_per_shard == 0 || self.images_per_shard > most {
            let problem = format!(
                "with {} it lies between 1 and {most}, which keeps a shard within {} MiB",
                self.description(),
                LARGEST_SHARD_BYTES >> 20
            );
            let value = self.images_per_shard.to_string();
            return Err(setting("images_per_shard", value, problem));
        }
        Ok(())
    }

    fn to_metadata(&self) -> BTreeMap<String, String> {
        let class_names =
            serde_json::to_string(&self.class_names).expect("a list of strings is valid JSON");
        let encoder = self
            .encoder
            .map_or(EXTERNAL.to_owned(), |digest| digest.to_string());
        let mut metadata = self.metadata.clone();
        let own = [
            (FORMAT_KEY, LATENT_FORMAT.to_owned()),
            (RESOLUTION_KEY, format!("{}x{}", self.width, self.height)),
            (CHANNELS_KEY, self.channels.to_string()),
            (CLASS_NAMES_KEY, class_names),
            (IMAGES_PER_SHARD_KEY, self.images_per_shard.to_string()),
            (FACTOR_KEY, self.factor.to_string()),
            (PIXEL_RANGE_KEY, self.pixel_range.name().to_owned()),
            (SCALING_FACTOR_KEY, self.scaling_factor.to_string()),
            (SHIFT_FACTOR_KEY, self.shift_factor.to_string()),
            (ENCODER_KEY, encoder),
        ];
        metadata.extend(own.map(|(key, value)| (key.to_owned(), value)));
        metadata
    }

    fn from_metadata(
        path: &Path,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<Self, DatasetError> {
        check_format(path, &metadata, LATENT_FORMAT)?;
        for of_the_index in [FORMAT_KEY, MEAN_KEY, DEVIATION_KEY] {
            metadata.remove(of_the_index);
        }
        let resolution = take_entry(path, &mut metadata, RESOLUTION_KEY)?;
        let (width, height) = resolution
            .split_once('x')
            .and_then(|(width, height)| {
                Some((width.parse::<u16>().ok()?, height.parse::<u16>().ok()?))
            })
            .ok_or_else(|| wrong_entry(path, RESOLUTION_KEY, &resolution))?;
        let mut entry = |key: &str, read: &mut dyn FnMut(&str) -> bool| {
            let value = take_entry(path, &mut metadata, key)?;
            if read(&value) {
                Ok(())
            } else {
                Err(wrong_entry(path, key, &value))
            }
        };
        let (mut channels, mut factor, mut images_per_shard) = (0_u16, 0_u16, 0_usize);
        let (mut scaling_factor, mut shift_factor) = (0.0, 0.0);
        let (mut class_names, mut pixel_range, mut encoder) =
            (Vec::new(), PixelRange::Signed, None);
        entry(CHANNELS_KEY, &mut |text| parse(text, &mut channels))?;
        entry(FACTOR_KEY, &mut |text| parse(text, &mut factor))?;
        entry(IMAGES_PER_SHARD_KEY, &mut |text| {
            parse(text, &mut images_per_shard)
        })?;
        entry(SCALING_FACTOR_KEY, &mut |text| {
            parse(text, &mut scaling_factor)
        })?;
        entry(SHIFT_FACTOR_KEY, &mut |text| parse(text, &mut shift_factor))?;
        entry(CLASS_NAMES_KEY, &mut |text| {
            let names = serde_json::from_str(text);
            names.map(|names| class_names = names).is_ok()
        })?;
        entry(PIXEL_RANGE_KEY, &mut |text| {
            let range = PixelRange::from_name(text);
            range.map(|range| pixel_range = range).is_some()
        })?;
        entry(ENCODER_KEY, &mut |text| {
            encoder = text.parse::<Digest>().ok();
            encoder.is_some() || text == EXTERNAL
        })?;
        let spec = Self {
            width: width.into(),
            height: height.into(),
            channels: channels.into(),
            factor: factor.into(),
            images_per_shard,
            class_names,
            pixel_range,
            scaling_factor,
            shift_factor,
            encoder,
            metadata,
        };
        spec.check()?;
        Ok(spec)
    }

    fn summary<'a>(
        &self,
        moments: impl Iterator<Item = &'a [Moments]>,
    ) -> BTreeMap<String, String> {
        LatentStatistics::of(moments, self.channels).to_metadata()
    }
}

fn parse<T: std::str::FromStr>(text: &str, into: &mut T) -> bool {
    match text.parse() {
        Ok(value) => {
            *into = value;
            true
        }
        Err(_) => false,
    }
}

/// The values of a record: the means, then the log-variances.
pub(super) fn decode(record: &[u8]) -> Vec<f32> {
    let halves = record.as_chunks::<2>().0.iter();
    halves
        .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
        .collect()
}

/// Mean and standard deviation of each channel's raw latents over a whole set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentStatistics {
    /// Mean, by channel.
    pub mean: Vec<f64>,
    /// Standard deviation of draws, by channel: the root of var(mean) + mean(variance).
    pub deviation: Vec<f64>,
}

impl LatentStatistics {
    /// From the moments of every image, in order.
    fn of<'a>(moments: impl Iterator<Item = &'a [Moments]>, channels: usize) -> Self {
        let (mut sums, mut squares, mut count) = (vec![0.0; channels], vec![0.0; channels], 0_u64);
        for image in moments {
            for (channel, Moments { mean, deviation }) in image.iter().enumerate() {
                let (mean, deviation) = (f64::from(*mean), f64::from(*deviation));
                sums[channel] += mean;
                squares[channel] += mean * mean + deviation * deviation;
            }
            count += 1;
        }
        let count = u64::max(count, 1) as f64;
        let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let deviation = squares
            .iter()
            .zip(&mean)
            .map(|(square, mean)| (square / count - mean * mean).max(0.0).sqrt())
            .collect();
        Self { mean, deviation }
    }

    fn to_metadata(&self) -> BTreeMap<String, String> {
        let list = |values: &[f64]| {
            serde_json::to_string(values).expect("a list of numbers is valid JSON")
        };
        BTreeMap::from([
            (MEAN_KEY.to_owned(), list(&self.mean)),
            (DEVIATION_KEY.to_owned(), list(&self.deviation)),
        ])
    }

    /// From the metadata of a set's index.
    pub(super) fn from_metadata(
        path: &Path,
        metadata: &BTreeMap<String, String>,
        channels: usize,
    ) -> Result<Self, DatasetError> {
        let list = |key: &str| {
            let text = metadata.get(key).map(String::as_str).unwrap_or_default();
            serde_json::from_str(text)
                .ok()
                .filter(|values: &Vec<f64>| values.len() == channels)
                .ok_or_else(|| wrong_entry(path, key, text))
        };
        Ok(Self {
            mean: list(MEAN_KEY)?,
            deviation: list(DEVIATION_KEY)?,
        })
    }
}
