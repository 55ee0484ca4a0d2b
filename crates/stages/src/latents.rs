//! Between sets of pixels and sets of latents.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use patchwork_core::{Digest, Membership};
use patchwork_dataset::latents::LatentSpec;
use patchwork_dataset::{DatasetError, KeyReader, Progress, Row, ShardSet};
use patchwork_diffusion::to_pixels;
use patchwork_diffusion::transfer::bring;
use patchwork_networks::NetworkError;
use patchwork_networks::autoencoder::{Autoencoder, Part, Posterior, Tiling};
use patchwork_terms::PixelRange;
use tch::{Kind, Tensor};

use crate::shared_set::SharedSet;
use crate::shares::done_in_all;

/// Why a set cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The set of pixels or of latents.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The autoencoder.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Images of one channel for an autoencoder of three, or the like.
    #[error("the images have {images} channels, and the autoencoder encodes {autoencoder}")]
    Channels {
        /// Of the images.
        images: i64,
        /// Of the autoencoder.
        autoencoder: i64,
    },
}

/// How a set is encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeOptions {
    /// The range of pixels that the autoencoder was trained on.
    pub pixel_range: PixelRange,
    /// The most images in a shard; fewer where latents are large.
    pub images_per_shard: usize,
    /// Images that are encoded at once. On the CPU the latents do not depend on it.
    pub at_once: i64,
}

/// Encodes every image of a set, in float32, resuming where an earlier call for the same set and autoencoder was
/// interrupted. Returns the number of images.
///
/// # Errors
/// [`EncodeError`]; [`DatasetError::Interrupted`] when `progress` says so.
pub fn encode_set(
    autoencoder: &Autoencoder,
    pixels_folder: &Path,
    folder: &Path,
    options: &EncodeOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, EncodeError> {
    let mut set = Encoding::open(autoencoder, pixels_folder, folder, options, true)?;
    set.encode(Membership::ALONE, progress)?;
    set.is_complete();
    set.finish()
}

/// A set of latents while ranks encode it, each some shards.
pub(crate) struct Encoding<'a> {
    autoencoder: &'a Autoencoder,
    options: &'a EncodeOptions,
    pixels_folder: &'a Path,
    pixels: ShardSet,
    spec: LatentSpec,
    set: SharedSet<LatentSpec>,
}

impl<'a> Encoding<'a> {
    /// That of the images in `pixels_folder`, in `folder`, which rank 0 opens before the others look into it.
    pub(crate) fn open(
        autoencoder: &'a Autoencoder,
        pixels_folder: &'a Path,
        folder: &Path,
        options: &'a EncodeOptions,
        is_first: bool,
    ) -> Result<Self, EncodeError> {
        let pixels = ShardSet::open(pixels_folder)?;
        let spec = spec(autoencoder, pixels_folder, &pixels, options)?;
        Ok(Self {
            autoencoder,
            options,
            pixels_folder,
            set: SharedSet::open(folder, spec.clone(), pixels.len(), is_first)?,
            pixels,
            spec,
        })
    }

    /// Writes a rank's share of the shards that are not there yet.
    pub(crate) fn encode(
        &self,
        membership: Membership,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), EncodeError> {
        let missing = self.set.missing();
        let total = self.pixels.len();
        let mut own = 0;
        let mut report = |own: usize| {
            let now = progress(Progress {
                done: done_in_all(membership, own, missing.present, total) as u64,
                total: total as u64,
                rejected: 0,
            });
            match now {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(DatasetError::Interrupted),
            }
        };
        let mut keys = KeyReader::new(self.pixels_folder, &self.pixels);
        for shard in missing.of(membership) {
            let Range {
                start: mut next,
                end,
            } = self.set.rows(shard);
            let mut rows: Vec<Row> = Vec::with_capacity(end - next);
            while next < end {
                report(own)?;
                let batch = next..usize::min(next + self.options.at_once as usize, end);
                rows.extend(self.rows(batch.clone(), &mut keys)?);
                own += batch.len();
                next = batch.end;
            }
            self.set.write(shard, rows)?;
        }
        Ok(())
    }

    /// The rows of some images, which are encoded at once.
    fn rows(
        &self,
        images: Range<usize>,
        keys: &mut KeyReader<'_>,
    ) -> Result<Vec<Row>, EncodeError> {
        let values_of = pixel_values(&self.pixels, images.clone(), self.options.pixel_range);
        let on_device = bring(&values_of, self.autoencoder.device());
        let posterior = (self.autoencoder).encode_batches(&on_device, self.options.at_once)?;
        (images.enumerate())
            .map(|(row, image)| {
                let (mean, log_variance) = values(&posterior, row as i64);
                let (key, label) = (keys.key(image)?, self.pixels.label(image));
                Ok(self.spec.row(key, label, &mean, &log_variance)?)
            })
            .collect()
    }

    /// Whether all shards are there, whoever has written them. Those that are count in [`finish`](Self::finish).
    pub(crate) fn is_complete(&mut self) -> bool {
        self.set.is_complete()
    }

    /// Checks every row and writes the index, once the set is complete. Returns the number of images.
    pub(crate) fn finish(self) -> Result<u64, EncodeError> {
        self.set.finish()?;
        Ok(self.pixels.len() as u64)
    }
}

fn spec(
    autoencoder: &Autoencoder,
    pixels_folder: &Path,
    pixels: &ShardSet,
    options: &EncodeOptions,
) -> Result<LatentSpec, EncodeError> {
    let config = autoencoder.config();
    let (width, height) = (pixels.width() as i64, pixels.height() as i64);
    autoencoder.check_size(height, width)?;
    let channels = pixels.channels().count() as i64;
    if channels != config.in_channels {
        return Err(EncodeError::Channels {
            images: channels,
            autoencoder: config.in_channels,
        });
    }
    let index = pixels_folder.join(patchwork_dataset::shards::INDEX_FILE);
    let images = Digest::of_file(&index).map_err(DatasetError::from)?;
    let precision = if autoencoder.device().is_cuda() {
        "float32, CUDA"
    } else {
        "float32"
    };
    let mut spec = LatentSpec {
        width: (width / config.factor()) as usize,
        height: (height / config.factor()) as usize,
        channels: config.latent_channels as usize,
        factor: config.factor() as usize,
        images_per_shard: 1,
        class_names: pixels.class_names().to_vec(),
        pixel_range: options.pixel_range,
        scaling_factor: config.scaling_factor,
        shift_factor: config.shift_factor.unwrap_or(0.0),
        encoder: Some(autoencoder.digest(Part::Encoder)?),
        metadata: BTreeMap::from([
            ("images".to_owned(), images.to_string()),
            ("precision".to_owned(), precision.to_owned()),
        ]),
    };
    spec.images_per_shard = usize::min(options.images_per_shard, spec.most_images_per_shard());
    Ok(spec)
}

/// Images as an autoencoder sees them: `[images, channels, height, width]`, f32 in the range that is asked for, on the CPU.
pub fn pixel_values(pixels: &ShardSet, images: Range<usize>, range: PixelRange) -> Tensor {
    let shape = [
        images.len() as i64,
        pixels.height() as i64,
        pixels.width() as i64,
        pixels.channels().count() as i64,
    ];
    let bytes: Vec<u8> = images
        .flat_map(|image| pixels.pixels(image))
        .copied()
        .collect();
    let values = Tensor::from_slice(&bytes)
        .view(shape)
        .permute([0, 3, 1, 2])
        .to_kind(Kind::Float);
    match range {
        PixelRange::Signed => values / 127.5 - 1.0,
        PixelRange::Unsigned => values / 255.0,
    }
}

/// Mean and log-variance of one image of a batch.
fn values(posterior: &Posterior, row: i64) -> (Vec<f32>, Vec<f32>) {
    let of = |moment: &Tensor| {
        let flat = moment.get(row).to_device(tch::Device::Cpu).reshape([-1]);
        Vec::try_from(flat).expect("a one-dimensional f32 tensor is a vector")
    };
    (of(&posterior.mean), of(&posterior.log_variance))
}

/// How latents are decoded, whatever the batch that they were made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// The range of pixels that the decoder makes.
    pub pixel_range: PixelRange,
    /// Images that are decoded at once. On the CPU they do not depend on it.
    pub at_once: i64,
    /// Cuts latents into tiles, where an image does not fit into memory.
    pub tiling: Option<Tiling>,
}

/// The images of raw latents, as bytes.
///
/// # Shapes
/// - `latents`: `[n, latent_channels, h, w]`, f32, raw, on the autoencoder's device
/// - returns `[n, out_channels, h × factor, w × factor]`, u8
pub fn decode(autoencoder: &Autoencoder, latents: &Tensor, options: &DecodeOptions) -> Tensor {
    let images = match options.tiling {
        Some(tiling) => autoencoder.decode_tiled(latents, tiling),
        None => autoencoder.decode_batches(latents, options.at_once),
    };
    match options.pixel_range {
        PixelRange::Signed => to_pixels(&images),
        PixelRange::Unsigned => to_pixels(&(images * 2.0 - 1.0)),
    }
}

#[cfg(test)]
mod tests;
