//! Latents that other programs made, as a set of ours.
//!
//! Their files do not say what they hold, so whoever imports them has to: whether the second half of the channels are
//! standard deviations or log-variances, whether values are raw or scaled, and which pixels were encoded.
//!
//! | Program | Files | Second half | Values |
//! | --- | --- | --- | --- |
//! | EDM2 | a folder of `.npy`, one an image, `dataset.json` | standard deviation | raw |
//! | REPA | the same | standard deviation | raw |
//! | LightningDiT | `.safetensors` with `latents`, `latents_flip`, `labels` | none: one draw | raw |

mod npy;
mod safetensors;
mod source;
mod values;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_terms::{PixelRange, Spread};

use self::source::{LatentSource, Stored};
pub use self::values::StoredScale;
use super::spec::LatentSpec;
use crate::error::DatasetError;
use crate::prepare::Progress;
use crate::shards::{Rejected, ShardSetWriter};
use crate::source::SourceCache;

/// More classes than any data set has: a label beyond is damage.
const MOST_CLASSES: u32 = 1 << 20;

/// What has to be said of latents that other programs made.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportSettings {
    /// A folder of `.npy` files, or a `.safetensors` file or a folder of them.
    pub source: PathBuf,
    /// What the second half of the channels holds.
    pub spread: Spread,
    /// How the values were scaled.
    pub stored: StoredScale,
    /// Channels of the latents: the autoencoder's.
    pub channels: usize,
    /// The pixels that were encoded.
    pub pixel_range: PixelRange,
    /// Pixels along a side of an image for one latent.
    pub factor: usize,
    /// The factor that the autoencoder's makers recommend, for the scaling `sd`.
    pub scaling_factor: f64,
    /// What they subtract before that.
    pub shift_factor: f64,
    /// The most rows in a shard; fewer where latents are large.
    pub images_per_shard: usize,
    /// The share of images that may be left out.
    pub max_rejected: f64,
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Images in the set.
    pub images: u64,
    /// Images that were left out.
    pub rejected: u64,
}

/// The digest of everything that [`import`] reads at `source`: names, sizes and content.
///
/// # Errors
/// [`DatasetError`]: nothing there, or nothing to import.
pub fn import_digest(source: &Path, cache: &SourceCache) -> Result<Digest, DatasetError> {
    let files = open(source)?.files();
    let keyed: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(source).unwrap_or(&path);
            (below.to_string_lossy().into_owned(), path)
        })
        .collect();
    cache.digest(source, &keyed)
}

/// Imports latents into a folder, resuming an earlier import of the same.
///
/// # Errors
/// [`DatasetError`]: nothing to import, more images left out than `max_rejected`, a disk that fails,
/// [`DatasetError::Interrupted`] when `progress` says so.
pub fn import(
    settings: &ImportSettings,
    folder: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Imported, DatasetError> {
    let source = open(&settings.source)?;
    let total = source.len();
    let spec = spec(settings, source.as_ref())?;
    let per_shard = spec.images_per_shard;
    let mut writer = ShardSetWriter::open(folder, spec.clone())?;
    let mut next = writer.images() as usize + writer.rejected().len();
    while next < total {
        let done = Progress {
            done: next as u64,
            total: total as u64,
            rejected: writer.rejected().len() as u64,
        };
        if progress(done).is_break() {
            return Err(DatasetError::Interrupted);
        }
        let (mut rows, mut rejected) = (Vec::with_capacity(per_shard), Vec::new());
        while rows.len() < per_shard && next < total {
            let key = source.key(next);
            let row = match source.read(next)? {
                Ok(stored) => row(settings, &spec, &key, source.label(next), stored),
                Err(cause) => Err(cause),
            };
            match row {
                Ok(row) => rows.push(row),
                Err(cause) => rejected.push(Rejected { key, cause }),
            }
            next += 1;
        }
        writer.write_shard(rows, rejected)?;
        check_rejected(&writer, total, settings.max_rejected)?;
    }
    let imported = Imported {
        images: writer.images(),
        rejected: writer.rejected().len() as u64,
    };
    writer.finish()?;
    Ok(imported)
}

fn check_rejected(
    writer: &ShardSetWriter<LatentSpec>,
    total: usize,
    max_rejected: f64,
) -> Result<(), DatasetError> {
    let rejected = writer.rejected();
    match rejected.first() {
        Some(first) if rejected.len() as f64 > max_rejected * total as f64 => {
            Err(DatasetError::TooManyRejected {
                rejected: rejected.len() as u64,
                total: total as u64,
                max_rejected,
                first: format!("`{}`: {}", first.key, first.cause),
                list: writer.write_rejected()?,
            })
        }
        _ => Ok(()),
    }
}

/// The files of a source, sorted by their endings.
fn open(path: &Path) -> Result<Box<dyn LatentSource>, DatasetError> {
    if !path.exists() {
        return Err(DatasetError::MissingSource {
            path: path.to_owned(),
        });
    }
    let files = safetensors::files(path)?;
    if !files.is_empty() {
        return Ok(Box::new(safetensors::SafetensorsSource::open(&files)?));
    }
    let source = npy::NpySource::open(path)?;
    if source.len() == 0 {
        return Err(DatasetError::EmptySource {
            source_name: path.display().to_string(),
            problem: "neither `.safetensors` nor `.npy` files were found in it".to_owned(),
        });
    }
    Ok(Box::new(source))
}

/// What the set will say of itself: sizes are those of the first image that can be read.
fn spec(settings: &ImportSettings, source: &dyn LatentSource) -> Result<LatentSpec, DatasetError> {
    let mut labels = (0..source.len()).filter_map(|image| Some((image, source.label(image)?)));
    if let Some((image, label)) = labels.find(|(_, label)| *label >= MOST_CLASSES) {
        return Err(DatasetError::Archive {
            path: settings.source.clone(),
            problem: format!("`{}` has the label {label}", source.key(image)),
        });
    }
    let mut problem = String::new();
    for image in 0..source.len() {
        match source.read(image)? {
            Ok(Stored { shape, values }) => {
                let channels = match settings.spread {
                    Spread::None => shape[0],
                    _ if shape[0].is_multiple_of(2) => shape[0] / 2,
                    _ => {
                        return Err(DatasetError::Setting {
                            setting: "spread",
                            value: settings.spread.name().to_owned(),
                            problem: format!(
                                "`{}` has {} channels, which is not an even number",
                                source.key(image),
                                shape[0]
                            ),
                        });
                    }
                };
                if channels != settings.channels {
                    return Err(DatasetError::Setting {
                        setting: "spread",
                        value: settings.spread.name().to_owned(),
                        problem: format!(
                            "`{}` has {} channels, so that its latents have {channels}, and those of the autoencoder {}",
                            source.key(image),
                            shape[0],
                            settings.channels
                        ),
                    });
                }
                if settings.spread == Spread::LogVariance && values::are_deviations(&values) {
                    return Err(DatasetError::Setting {
                        setting: "spread",
                        value: settings.spread.name().to_owned(),
                        problem: format!(
                            "`{}` has no log-variance below 0, and nearly all of an encoder's are; are these standard deviations?",
                            source.key(image)
                        ),
                    });
                }
                return Ok(with_shape(settings, source, channels, shape));
            }
            Err(cause) => {
                if problem.is_empty() {
                    problem = format!("`{}`: {cause}", source.key(image));
                }
            }
        }
    }
    Err(DatasetError::EmptySource {
        source_name: settings.source.display().to_string(),
        problem: format!("none of its files can be used; first {problem}"),
    })
}

fn with_shape(
    settings: &ImportSettings,
    source: &dyn LatentSource,
    channels: usize,
    [_, height, width]: [usize; 3],
) -> LatentSpec {
    let classes = (0..source.len())
        .filter_map(|image| source.label(image))
        .max()
        .map_or(0, |last| last as usize + 1);
    let metadata = [
        ("spread", settings.spread.name().to_owned()),
        ("stored_factor", settings.stored.factor.to_string()),
        ("stored_shift", settings.stored.shift.to_string()),
    ];
    let mut spec = LatentSpec {
        width,
        height,
        channels,
        factor: settings.factor,
        images_per_shard: 1,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        pixel_range: settings.pixel_range,
        scaling_factor: settings.scaling_factor,
        shift_factor: settings.shift_factor,
        encoder: None,
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
    };
    let most = spec.most_images_per_shard();
    spec.images_per_shard = usize::min(settings.images_per_shard, most);
    spec
}

/// An image's row, or why it is left out.
fn row(
    settings: &ImportSettings,
    spec: &LatentSpec,
    key: &str,
    label: Option<u32>,
    stored: Stored,
) -> Result<crate::shards::Row, String> {
    let halves = if settings.spread == Spread::None {
        1
    } else {
        2
    };
    let wanted = [halves * spec.channels, spec.height, spec.width];
    if stored.shape != wanted {
        return Err(format!(
            "it has the shape {:?}, and the first image {wanted:?}",
            stored.shape
        ));
    }
    let (mean, log_variance) = values::moments(stored.values, settings.spread, settings.stored)?;
    spec.row(key.to_owned(), label, &mean, &log_variance)
        .map_err(|error| error.to_string())
}
