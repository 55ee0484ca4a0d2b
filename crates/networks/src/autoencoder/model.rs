//! A KL autoencoder: settings, weights and the ways through them.

use std::collections::BTreeMap;
use std::io::Write;

use patchwork_core::Digest;
use patchwork_core::digest::DigestWriter;
use tch::{Device, Tensor};

use crate::builder::{Builder, Entry};
use crate::error::NetworkError;
use crate::parameter::Parameter;

use super::blocks::{Conv, is_float};
use super::config::AutoencoderConfig;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::names;

/// Bounds of the log-variance.
const LOG_VARIANCE: [f64; 2] = [-30.0, 20.0];

/// A half of an autoencoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `encoder` and `quant_conv`: what latents depend on.
    Encoder,
    /// `post_quant_conv` and `decoder`: what decoded images depend on besides the latents.
    Decoder,
}

/// The normal distribution of an image's latents, one mean and variance a latent.
#[derive(Debug)]
pub struct Posterior {
    /// `[n, latent_channels, h, w]`, f32; also the distribution's mode.
    pub mean: Tensor,
    /// Natural logarithm of the variance, the same shape, within [-30, 20].
    pub log_variance: Tensor,
}

impl Posterior {
    /// From the encoder's output: the mean's channels, then the log-variance's.
    fn of(moments: &Tensor) -> Self {
        let halves = moments.chunk(2, 1);
        Self {
            mean: halves[0].contiguous(),
            log_variance: halves[1].clamp(LOG_VARIANCE[0], LOG_VARIANCE[1]),
        }
    }

    /// Standard deviation.
    pub fn deviation(&self) -> Tensor {
        (&self.log_variance * 0.5).exp()
    }

    /// A draw, from standard normal noise of the same shape.
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        &self.mean + self.deviation() * noise
    }
}

/// A KL autoencoder with its weights, in float32.
#[derive(Debug)]
pub struct Autoencoder {
    config: AutoencoderConfig,
    encoder: Encoder,
    decoder: Decoder,
    quant: Option<Conv>,
    post_quant: Option<Conv>,
    entries: Vec<Entry>,
    device: Device,
}

impl Autoencoder {
    /// A fresh autoencoder with PyTorch's first weights.
    ///
    /// # Determinism
    /// The weights are a function of `config` and `seed` alone. Seeds libtorch's global generator.
    ///
    /// # Errors
    /// [`NetworkError::Autoencoder`] when the settings contradict each other.
    pub fn new(
        config: &AutoencoderConfig,
        device: Device,
        seed: u64,
    ) -> Result<Self, NetworkError> {
        config.validate()?;
        tch::manual_seed(seed.cast_signed());
        let mut builder = Builder::fresh(device);
        let parts = Parts::new(&mut builder, config);
        let (entries, _) = builder.finish();
        Ok(parts.into_autoencoder(config, entries, device))
    }

    /// An autoencoder of weights that were read, under any of the known naming schemes; those of a full checkpoint are
    /// found by their prefix, and what stands beside them is passed over.
    ///
    /// # Errors
    /// [`NetworkError::Autoencoder`]; [`NetworkError::Weights`] unless names and shapes are exactly the settings'.
    pub fn from_tensors(
        config: &AutoencoderConfig,
        tensors: BTreeMap<String, Tensor>,
        device: Device,
    ) -> Result<Self, NetworkError> {
        config.validate()?;
        let mut builder = Builder::given(names::current(tensors)?, device);
        let parts = Parts::new(&mut builder, config);
        let (entries, mismatch) = builder.finish();
        mismatch.check()?;
        Ok(parts.into_autoencoder(config, entries, device))
    }

    /// The settings.
    pub fn config(&self) -> &AutoencoderConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All weights under the names of diffusers today, in the order of registration there. All of them are trained.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.entries
            .iter()
            .map(|entry| entry.parameter.share())
            .collect()
    }

    /// Whether images of this size can be encoded.
    ///
    /// # Errors
    /// [`NetworkError::ImageSize`] where a side is not a multiple of [`AutoencoderConfig::factor`]: the network would
    /// leave out the last rows or columns silently.
    pub fn check_size(&self, height: i64, width: i64) -> Result<(), NetworkError> {
        let multiple = self.config.factor();
        if height > 0 && width > 0 && height % multiple == 0 && width % multiple == 0 {
            return Ok(());
        }
        Err(NetworkError::ImageSize {
            height,
            width,
            multiple,
        })
    }

    /// The distribution of the latents of images.
    ///
    /// # Shapes
    /// - `images`: `[n, in_channels, h, w]`, f32; h and w multiples of [`AutoencoderConfig::factor`]. Stable
    ///   Diffusion's are of pixels in [-1, 1]
    /// - returns moments of `[n, latent_channels, h / factor, w / factor]`, raw
    ///
    /// # Errors
    /// [`NetworkError::ImageSize`].
    ///
    /// # Determinism
    /// On the CPU an image's latents do not depend on those beside it.
    pub fn encode(&self, images: &Tensor) -> Result<Posterior, NetworkError> {
        let (_, _, height, width) = images.size4()?;
        self.check_size(height, width)?;
        debug_assert!(is_float(images), "images are float32");
        let moments = self.encoder.forward(&images.contiguous());
        let moments = match &self.quant {
            Some(quant) => quant.forward(&moments),
            None => moments,
        };
        Ok(Posterior::of(&moments))
    }

    /// The images of latents, not clipped.
    ///
    /// # Shapes
    /// - `latents`: `[n, latent_channels, h, w]`, f32, raw
    /// - returns `[n, out_channels, h × factor, w × factor]`
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let latents = latents.contiguous();
        match &self.post_quant {
            Some(post_quant) => self.decoder.forward(&post_quant.forward(&latents)),
            None => self.decoder.forward(&latents),
        }
    }

    /// A digest of one half: the settings that its shapes do not show, and names, shapes and float32 values of its
    /// tensors, whatever file and element type they came from.
    ///
    /// # Errors
    /// [`NetworkError::Torch`] when a tensor cannot be brought to the CPU.
    pub fn digest(&self, part: Part) -> Result<Digest, NetworkError> {
        let prefixes = match part {
            Part::Encoder => ["encoder.", "quant_conv."],
            Part::Decoder => ["decoder.", "post_quant_conv."],
        };
        let mut tensors: Vec<&Parameter> = self
            .entries
            .iter()
            .map(|entry| &entry.parameter)
            .filter(|parameter| {
                prefixes
                    .iter()
                    .any(|prefix| parameter.name.starts_with(prefix))
            })
            .collect();
        tensors.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        let mut digest = DigestWriter::new(std::io::sink());
        let mut write = |bytes: &[u8]| {
            digest
                .write_all(bytes)
                .expect("what takes everything takes bytes");
        };
        write(format!("groups {}\n", self.config.norm_num_groups).as_bytes());
        for Parameter { name, tensor } in tensors {
            write(format!("{name} {:?}\n", tensor.size()).as_bytes());
            let values = tensor.detach().to_device(Device::Cpu).contiguous();
            let mut bytes = vec![0; values.numel() * size_of::<f32>()];
            values.f_copy_data_u8(&mut bytes, values.numel())?;
            write(&bytes);
        }
        Ok(digest.finish().1)
    }
}

/// The layers of an autoencoder under construction.
struct Parts {
    encoder: Encoder,
    decoder: Decoder,
    quant: Option<Conv>,
    post_quant: Option<Conv>,
}

impl Parts {
    fn new(builder: &mut Builder, config: &AutoencoderConfig) -> Self {
        let (latents, moments) = (config.latent_channels, 2 * config.latent_channels);
        Self {
            encoder: Encoder::new(builder, config),
            decoder: Decoder::new(builder, config),
            quant: config
                .use_quant_conv
                .then(|| Conv::new(builder, "quant_conv", moments, moments, 1)),
            post_quant: config
                .use_post_quant_conv
                .then(|| Conv::new(builder, "post_quant_conv", latents, latents, 1)),
        }
    }

    fn into_autoencoder(
        self,
        config: &AutoencoderConfig,
        entries: Vec<Entry>,
        device: Device,
    ) -> Autoencoder {
        Autoencoder {
            config: config.clone(),
            encoder: self.encoder,
            decoder: self.decoder,
            quant: self.quant,
            post_quant: self.post_quant,
            entries,
            device,
        }
    }
}
