//! The images of some seeds, by a network and a sampler.

use std::sync::atomic::{AtomicUsize, Ordering};

use patchwork_diffusion::latents::seeded_draws;
use patchwork_diffusion::patches::patch_positions;
use patchwork_diffusion::sampler::{SamplerOptions, sample};
use patchwork_diffusion::{Conditioning, Denoiser, NetworkDenoiser, to_pixels};
use patchwork_networks::Network;
use patchwork_recipes::Region;
use patchwork_terms::Channels;
use tch::{Device, Kind, Tensor};

use crate::decoder::Decoder;
use crate::train::one_hot;

/// A network with everything that says how images are drawn from it.
pub struct ImageSampler {
    denoiser: NetworkDenoiser,
    part: Part,
    options: SamplerOptions,
    device: Device,
    /// For a network of latents.
    decoder: Option<Decoder>,
    /// The most images that were drawn at once.
    most_drawn: AtomicUsize,
}

/// An image that came out as something else than numbers.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image of seed {seed} has values that are no finite numbers: use `precision = \"float32\"`, whose numbers are \
     large enough for any sound network; where it changes nothing, the network itself is broken"
)]
pub struct NotFinite {
    seed: u64,
}

/// A network that makes no images.
#[derive(Debug, thiserror::Error)]
#[error(
    "the network makes pictures of {channels} channels; images have 1 (grey) or 3 (red, green, blue)"
)]
pub(crate) struct NoImages {
    channels: i64,
}

/// A part of the canvas, in pixels.
#[derive(Clone, Copy, Debug)]
struct Part {
    row: i64,
    column: i64,
    height: i64,
    width: i64,
}

impl ImageSampler {
    /// `region` none = the whole canvas.
    pub fn new(
        network: &Network,
        precision: Kind,
        region: Option<Region>,
        options: SamplerOptions,
        device: Device,
    ) -> Self {
        let part = match region {
            None => Part {
                row: 0,
                column: 0,
                height: network.config().height(),
                width: network.config().width(),
            },
            Some(Region { row, column, side }) => Part {
                row: row.into(),
                column: column.into(),
                height: side.into(),
                width: side.into(),
            },
        };
        Self {
            denoiser: NetworkDenoiser {
                precision,
                ..NetworkDenoiser::new(network.to_kind_copy(precision))
            },
            part,
            options,
            device,
            decoder: None,
            most_drawn: AtomicUsize::new(0),
        }
    }

    /// The same, whose samples are latents that a decoder makes images of.
    pub(crate) fn decoded_by(self, decoder: Option<Decoder>) -> Self {
        Self { decoder, ..self }
    }

    /// The height of the images, in pixels.
    pub fn height(&self) -> usize {
        (self.part.height * self.factor()) as usize
    }

    /// The width of the images, in pixels.
    pub fn width(&self) -> usize {
        (self.part.width * self.factor()) as usize
    }

    fn factor(&self) -> i64 {
        self.decoder.as_ref().map_or(1, Decoder::factor)
    }

    /// What a pixel holds.
    ///
    /// # Errors
    /// [`NoImages`] for a network that makes no images.
    pub(crate) fn channels(&self) -> Result<Channels, NoImages> {
        let own = self.denoiser.network.config().img_channels;
        let channels = self.decoder.as_ref().map_or(own, Decoder::channels);
        let found = u32::try_from(channels).ok();
        found
            .and_then(|count| Channels::try_from(count).ok())
            .ok_or(NoImages { channels })
    }

    /// The network looks at multiples of so many images at once.
    ///
    /// On the processor, libtorch multiplies float32 matrices of fewer rows in another order, convolves a single
    /// image by another routine, and shares odd numbers of bfloat16 images out otherwise: an image would depend, in
    /// its last bits, on how many are drawn beside it.
    pub fn images_multiple(&self) -> u32 {
        if self.device == Device::Cpu { 4 } else { 1 }
    }

    /// Draws the images of some seeds; `labels` are their classes, for a network that is told them.
    ///
    /// # Shapes
    /// - returns: `[seeds, channels, height, width]`, u8, on the CPU
    ///
    /// # Determinism
    /// On the processor an image is a function of its seed and class alone, whatever is drawn beside it.
    ///
    /// # Errors
    /// [`NotFinite`] for the first image that has a value which is no finite number.
    pub fn draw(&self, seeds: &[u64], labels: Option<&[i64]>) -> Result<Tensor, NotFinite> {
        let images = seeds.len() as i64;
        let lacking = self.images_at_once(seeds.len()) - seeds.len();
        if lacking == 0 || seeds.is_empty() {
            return self.draw_together(seeds, labels);
        }
        let seeds = [seeds, &vec![seeds[0]; lacking]].concat();
        let labels = labels.map(|labels| [labels, &vec![labels[0]; lacking]].concat());
        let drawn = self.draw_together(&seeds, labels.as_deref())?;
        Ok(drawn.narrow(0, 0, images))
    }

    /// How many images the network looks at for so many seeds. On a GPU a last batch of fewer is filled up: cuDNN would try
    /// its algorithms out again for a batch of another size.
    fn images_at_once(&self, seeds: usize) -> usize {
        if self.device == Device::Cpu {
            return seeds.next_multiple_of(self.images_multiple() as usize);
        }
        let most = self.most_drawn.fetch_max(seeds, Ordering::Relaxed);
        usize::max(most, seeds)
    }

    fn draw_together(&self, seeds: &[u64], labels: Option<&[i64]>) -> Result<Tensor, NotFinite> {
        let images = tch::no_grad(|| {
            let (latents, mut noise) = seeded_draws(
                seeds,
                self.denoiser.network.config().img_channels,
                self.part.height,
                self.part.width,
                &self.options.noisy_steps(&self.denoiser),
            );
            sample(
                &self.denoiser,
                &latents.to_device(self.device),
                &mut noise,
                &self.conditioning(labels),
                &self.options,
            )
        });
        check_finite(seeds, &images)?;
        let pixels = match &self.decoder {
            Some(decoder) => decoder.images(&images),
            None => to_pixels(&images),
        };
        Ok(pixels.to_device(Device::Cpu))
    }

    /// Bytes of fresh noise that lie ready for an image when its first step is taken.
    pub(super) fn noise_bytes(&self) -> u64 {
        const BYTES: i64 = size_of::<f64>() as i64;
        let noisy_steps = self.options.noisy_steps(&self.denoiser);
        let steps = noisy_steps.iter().filter(|is_noisy| **is_noisy).count();
        let channels = self.denoiser.network.config().img_channels;
        steps as u64 * (channels * self.part.height * self.part.width * BYTES) as u64
    }

    /// Has the network look at `images` images of nothing, once: what that takes of memory, a step takes.
    pub(super) fn try_out(&self, images: u32) {
        tch::no_grad(|| {
            let config = self.denoiser.network.config();
            let images = i64::from(images);
            let noisy = Tensor::zeros(
                [
                    images,
                    config.img_channels,
                    self.part.height,
                    self.part.width,
                ],
                (Kind::Double, self.device),
            );
            let sigma = Tensor::ones([images], (Kind::Double, self.device));
            let labels = (config.label_dim > 0).then(|| vec![0; images as usize]);
            let conditioning = self.conditioning(labels.as_deref());
            let _ = self.denoiser.denoise(&noisy, &sigma, &conditioning);
        });
    }

    fn conditioning(&self, labels: Option<&[i64]>) -> Conditioning {
        let config = self.denoiser.network.config();
        let Part {
            row,
            column,
            height,
            width,
        } = self.part;
        let (whole_height, whole_width) = (config.height(), config.width());
        Conditioning {
            positions: config.position_channels.then(|| {
                patch_positions(
                    &[row],
                    &[column],
                    height,
                    width,
                    whole_height,
                    whole_width,
                    self.device,
                )
            }),
            class_labels: labels
                .map(|labels| one_hot(labels, config.label_dim).to_device(self.device)),
            augment_labels: None,
        }
    }
}

/// As pixels, what is no finite number would be black, white or anything.
fn check_finite(seeds: &[u64], images: &Tensor) -> Result<(), NotFinite> {
    let finite = images.isfinite().flatten(1, -1).all_dim(1, false); // [seeds]
    let finite = Vec::<bool>::try_from(finite.to_device(Device::Cpu))
        .expect("a flat tensor of truth values is a vector of them");
    match seeds.iter().zip(finite).find(|(_, finite)| !finite) {
        Some((&seed, _)) => Err(NotFinite { seed }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_image_that_is_not_finite_is_named() {
        let check = |value: f64| {
            let images = Tensor::zeros([3, 1, 2, 2], (Kind::Double, Device::Cpu));
            let _ = images.narrow(0, 1, 2).select(3, 1).fill_(value);
            check_finite(&[7, 8, 9], &images).map_err(|error| error.seed)
        };
        assert_eq!(check(1e300), Ok(()));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(check(value), Err(8));
        }
    }
}
