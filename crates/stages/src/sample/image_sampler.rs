//! The images of some seeds, by a network and a sampler.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use patchwork_diffusion::latents::{between, seeded_draws, seeded_latents};
use patchwork_diffusion::patches::patch_positions;
use patchwork_diffusion::sampler::{SamplerOptions, sample};
use patchwork_diffusion::{Conditioning, Denoiser, NetworkDenoiser, to_pixels};
use patchwork_networks::{MOST_TAKERS, Network, shared_out};
use patchwork_recipes::Region;
use patchwork_terms::Channels;
use tch::{Device, Kind, Tensor};

use super::starts::Start;
use crate::decoder::Decoder;
use crate::train::one_hot;

/// A network with everything that says how images are sampled from it.
pub struct ImageSampler {
    denoiser: NetworkDenoiser,
    /// Copies that share its weights, one for each thread that takes a part of a batch.
    copies: Mutex<Vec<NetworkDenoiser>>,
    threads: usize,
    part: Part,
    options: SamplerOptions,
    device: Device,
    /// For a network of latents.
    decoder: Option<Decoder>,
    /// Called before each evaluation of the network.
    beat: Option<Box<dyn Fn() + Send + Sync>>,
    /// The most images that were sampled at once.
    most_at_once: AtomicUsize,
}

/// A denoiser that gives a sign of life before each evaluation.
struct Beating<'a> {
    denoiser: &'a NetworkDenoiser,
    beat: Option<&'a (dyn Fn() + Send + Sync)>,
}

impl Denoiser for Beating<'_> {
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor {
        if let Some(beat) = self.beat {
            beat();
        }
        self.denoiser.denoise(noisy, sigma, conditioning)
    }

    fn sigma_range(&self) -> (f64, f64) {
        self.denoiser.sigma_range()
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        self.denoiser.round_sigma(sigma)
    }
}

/// An image that came out as something else than numbers.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image of seed {seed} has non-finite values (NaN or infinity): use `precision = \"float32\"`, whose numbers are \
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
            Some(region) => {
                let (width, height) = region.size();
                Part {
                    row: region.row.into(),
                    column: region.column.into(),
                    height: height.into(),
                    width: width.into(),
                }
            }
        };
        let denoiser_of = |network: &Network| NetworkDenoiser {
            precision,
            ..NetworkDenoiser::new(network.to_kind_copy(precision))
        };
        let denoiser = denoiser_of(network);
        let threads = match device {
            Device::Cpu => usize::try_from(tch::get_num_threads()).unwrap_or(1),
            _ => 1,
        };
        // What has its kind already is not copied again: the weights are held once.
        let copies = (0..usize::min(threads, MOST_TAKERS)).map(|_| denoiser_of(&denoiser.network));
        Self {
            copies: Mutex::new(copies.collect()),
            threads,
            denoiser,
            part,
            options,
            device,
            decoder: None,
            beat: None,
            most_at_once: AtomicUsize::new(0),
        }
    }

    /// The same, whose samples are latents that a decoder makes images of.
    pub(crate) fn decoded_by(self, decoder: Option<Decoder>) -> Self {
        Self { decoder, ..self }
    }

    /// The same, which calls `beat` before each evaluation of the network: a batch may take hours.
    pub(crate) fn beating(self, beat: impl Fn() + Send + Sync + 'static) -> Self {
        let beat: Box<dyn Fn() + Send + Sync> = Box::new(beat);
        Self {
            beat: Some(beat),
            ..self
        }
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
    /// its last bits, on how many are sampled beside it.
    pub fn images_multiple(&self) -> u32 {
        if self.device == Device::Cpu { 4 } else { 1 }
    }

    /// Draws the images of some seeds; `labels` are their classes, for a class-conditional network.
    ///
    /// # Shapes
    /// - returns: `[seeds, channels, height, width]`, u8, on the CPU
    ///
    /// # Determinism
    /// On the processor an image is a function of its seed and class alone, whatever is sampled beside it.
    ///
    /// # Errors
    /// [`NotFinite`] for the first image that has a non-finite value.
    pub fn sample(&self, seeds: &[u64], labels: Option<&[i64]>) -> Result<Tensor, NotFinite> {
        let starts: Vec<Start> = seeds.iter().map(|&seed| Start::of_seed(seed)).collect();
        self.sample_from(&starts, labels)
    }

    /// The same, of images that may start between two seeds.
    pub(crate) fn sample_from(
        &self,
        starts: &[Start],
        labels: Option<&[i64]>,
    ) -> Result<Tensor, NotFinite> {
        let images = starts.len() as i64;
        let missing = self.images_at_once(starts.len()) - starts.len();
        if missing == 0 || starts.is_empty() {
            return self.sample_together(starts, labels);
        }
        let starts = [starts, &vec![starts[0]; missing]].concat();
        let labels = labels.map(|labels| [labels, &vec![labels[0]; missing]].concat());
        let sampled = self.sample_together(&starts, labels.as_deref())?;
        Ok(sampled.narrow(0, 0, images))
    }

    /// How many images the network looks at for so many seeds. On a GPU a last batch of fewer is padded: cuDNN would try
    /// its algorithms out again for a batch of another size.
    fn images_at_once(&self, seeds: usize) -> usize {
        if self.device == Device::Cpu {
            return seeds.next_multiple_of(self.images_multiple() as usize);
        }
        let most = self.most_at_once.fetch_max(seeds, Ordering::Relaxed);
        usize::max(most, seeds)
    }

    fn sample_together(
        &self,
        starts: &[Start],
        labels: Option<&[i64]>,
    ) -> Result<Tensor, NotFinite> {
        let seeds: Vec<u64> = starts.iter().map(|start| start.seed).collect();
        let images = tch::no_grad(|| {
            let (channels, Part { height, width, .. }) =
                (self.denoiser.network.config().img_channels, self.part);
            let noisy_steps = self.options.noisy_steps(&self.denoiser);
            let (latents, noise) = seeded_draws(&seeds, channels, height, width, &noisy_steps);
            for (image, start) in (0..).zip(starts) {
                if let Some((seed, share)) = start.towards {
                    let other = seeded_latents(&[seed], channels, height, width).get(0);
                    let mut own = latents.get(image);
                    own.copy_(&between(&own, &other, share));
                }
            }
            let parts = self.parts(starts.len()).into_iter().map(|images| {
                let (first, count) = (images.start as i64, images.len() as i64);
                let labels = labels.map(|labels| &labels[images]);
                let latents = latents.narrow(0, first, count).to_device(self.device);
                (
                    latents,
                    noise.of_images(first, count),
                    self.conditioning(labels),
                )
            });
            let (options, beat) = (&self.options, self.beat.as_deref());
            let sampled =
                self.shared_out(parts.collect(), |denoiser, (latents, mut noise, given)| {
                    let denoiser = Beating { denoiser, beat };
                    sample(&denoiser, &latents, &mut noise, &given, options)
                });
            Tensor::cat(&sampled, 0)
        });
        check_finite(&seeds, &images)?;
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
    pub(crate) fn try_out(&self, images: u32) {
        let config = self.denoiser.network.config();
        let (channels, label_dim) = (config.img_channels, config.label_dim);
        let (Part { height, width, .. }, device) = (self.part, self.device);
        let parts = self.parts(images as usize).into_iter().map(|part| {
            let labels = (label_dim > 0).then(|| vec![0; part.len()]);
            (part.len() as i64, self.conditioning(labels.as_deref()))
        });
        let looked = self.shared_out(parts.collect(), |denoiser, (images, given)| {
            let shape = [images, channels, height, width];
            let noisy = Tensor::zeros(shape, (Kind::Double, device));
            let sigma = Tensor::ones([images], (Kind::Double, device));
            denoiser.denoise(&noisy, &sigma, &given)
        });
        drop(looked);
    }

    /// The images of a batch in parts that threads take one after another, each of as many images as the network looks at;
    /// twice as many as threads, so that one that is delayed leaves some to the others.
    fn parts(&self, images: usize) -> Vec<Range<usize>> {
        let multiple = self.images_multiple() as usize;
        let groups = images.div_ceil(multiple);
        let takers = usize::min(self.threads, MOST_TAKERS);
        let count = match takers {
            1 => 1,
            takers => usize::clamp(2 * takers, 1, usize::max(1, groups)),
        };
        let end = |part: usize| usize::min(images, part * groups / count * multiple);
        (0..count).map(|part| end(part)..end(part + 1)).collect()
    }

    /// Has the copies of the network work on some parts.
    fn shared_out<P: Send>(
        &self,
        parts: Vec<P>,
        work: impl Fn(&NetworkDenoiser, P) -> Tensor + Sync,
    ) -> Vec<Tensor> {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        // A few images have all threads.
        let takers = usize::clamp(parts.len(), 1, copies.len());
        // Whether gradients are kept is each thread's own affair.
        shared_out(
            &mut copies[..takers],
            self.threads,
            parts,
            |denoiser, part| tch::no_grad(|| work(denoiser, part)),
        )
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

/// As pixels, non-finite values would be black, white or anything.
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
mod tests;
