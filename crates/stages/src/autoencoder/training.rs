//! Training a small KL autoencoder on a set of pixels: crops by position, a checkpoint that training resumes from to the
//! last bit, and the quality of reconstructions of images that training does not see.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::{Digest, Seed};
use patchwork_dataset::{
    Channels, DatasetError, PatchRequest, PatchSize, PatchStream, ShardSet, Share,
};
use patchwork_diffusion::autoencoder::{
    AutoencoderOptions, AutoencoderReport, AutoencoderStep, CosineRate, LossWeights, psnr,
};
use patchwork_diffusion::transfer::bring;
use patchwork_diffusion::{AdamOptions, DiffusionError, to_pixels};
use patchwork_networks::NetworkError;
use patchwork_networks::autoencoder::{Autoencoder, AutoencoderConfig};
use patchwork_networks::checkpoint::read_safetensors;
use tch::{Device, Kind, Tensor};

use crate::train::write_tensors;

/// One image of so many is held out, up to [`MOST_HELD_OUT`].
const HELD_OUT: usize = 16;

/// Enough to measure reconstructions on.
const MOST_HELD_OUT: usize = 1024;

/// Why an autoencoder cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum AutoencoderError {
    /// The set of pixels.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The autoencoder or its files.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A step, or a checkpoint of another training.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A checkpoint of more steps than training has.
    #[error("it has made {steps} steps, and the whole training has {total}")]
    PastEnd {
        /// Those of the checkpoint.
        steps: u64,
        /// Those of the training.
        total: u64,
    },
    /// A checkpoint that nothing can be resumed from.
    #[error("its weights or moments are non-finite")]
    NotFinite,
    /// A setting that the data or the autoencoder cannot meet.
    #[error("`{setting}` cannot be {value}: {problem}")]
    Setting {
        /// The key.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        problem: String,
    },
}

/// How an autoencoder is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// The autoencoder.
    pub config: AutoencoderConfig,
    /// Side of the square crops in pixels: a multiple of the autoencoder's factor.
    pub crop: usize,
    /// Crops in a step.
    pub batch_size: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Steps over which the rate rises.
    pub ramp_steps: u64,
    /// From which weights, crops and noise are drawn.
    pub seed: u64,
}

/// Reconstructions of the images that are held out.
#[derive(Debug)]
pub struct Reconstructions {
    /// Peak signal-to-noise ratio in decibels, over all of them.
    pub psnr: f64,
    /// Standard deviation of their latents' means, over all channels.
    pub latent_deviation: f64,
    /// The first images, `[n, channels, height, width]`, u8.
    pub images: Tensor,
    /// What became of them, of the same shape.
    pub reconstructions: Tensor,
}

/// An autoencoder in training on a set of pixels.
pub struct AutoencoderTraining {
    settings: TrainingOptions,
    data: ShardSet,
    /// The images that are trained on.
    images: Vec<usize>,
    held_out: Vec<usize>,
    stream: PatchStream,
    noise: Seed,
    step: AutoencoderStep,
    device: Device,
}

impl AutoencoderTraining {
    /// Before the first step.
    ///
    /// # Errors
    /// [`AutoencoderError`]: settings that contradict each other or the data.
    pub fn new(
        settings: TrainingOptions,
        data: &ShardSet,
        device: Device,
    ) -> Result<Self, AutoencoderError> {
        let config = &settings.config;
        check(&settings, data)?;
        let seed = Seed::new(settings.seed).derive("autoencoder");
        let autoencoder = Autoencoder::new(config, device, seed.derive("weights").value())?;
        autoencoder.check_size(data.height() as i64, data.width() as i64)?;
        let (held_out, images): (Vec<usize>, Vec<usize>) =
            (0..data.len()).partition(|image| is_held_out(*image));
        let size = PatchSize {
            height: data.height(),
            width: data.width(),
        };
        let options = AutoencoderOptions {
            loss: LossWeights::default(),
            learning_rate: CosineRate {
                rate: settings.learning_rate,
                ramp_steps: settings.ramp_steps,
                steps: settings.steps,
                floor: 0.05,
            },
            adam: AdamOptions {
                beta2: 0.99,
                ..AdamOptions::default()
            },
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
        };
        Ok(Self {
            stream: PatchStream::over(images.len(), size, seed, 0.5)
                .with_corner_step(config.factor() as usize),
            noise: seed.derive("noise"),
            step: AutoencoderStep::new(autoencoder, options),
            data: data.clone(),
            images,
            held_out,
            settings,
            device,
        })
    }

    /// How many images are held out.
    pub fn held_out(&self) -> usize {
        self.held_out.len()
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step.steps()
    }

    /// Crops seen so far.
    pub fn images(&self) -> u64 {
        self.steps() * self.settings.batch_size
    }

    /// The autoencoder as it stands.
    pub fn autoencoder(&self) -> &Autoencoder {
        self.step.autoencoder()
    }

    /// Makes the next step.
    ///
    /// # Determinism
    /// On one machine with one number of threads, a function of the settings, the data and the number of the step.
    pub fn step(&mut self) -> Result<AutoencoderReport, AutoencoderError> {
        let first = self.steps() * self.settings.batch_size;
        let size = PatchSize::square(self.settings.crop);
        let positions = first..first + self.settings.batch_size;
        let mut requests = self.stream.patches(positions, Share::WHOLE, size);
        for request in &mut requests {
            request.index = self.images[request.index];
        }
        let images = bring(&self.gather(&requests, size)?, self.device);
        let noise = bring(&self.noise(), self.device);
        Ok(self.step.step(&images, &noise)?)
    }

    /// `[batch_size, latent_channels, crop / factor, crop / factor]`, standard normal, of the next step.
    fn noise(&self) -> Tensor {
        let config = &self.settings.config;
        let side = self.settings.crop as i64 / config.factor();
        let shape = [
            self.settings.batch_size as i64,
            config.latent_channels,
            side,
            side,
        ];
        tch::manual_seed(self.noise.at(self.steps()).value().cast_signed());
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn gather(&self, requests: &[PatchRequest], size: PatchSize) -> Result<Tensor, DatasetError> {
        let channels = self.data.channels();
        let mut values = vec![0.0_f32; requests.len() * size.values(channels)];
        self.data.gather(requests, size, &mut values)?;
        let shape = [requests.len(), channels.count(), size.height, size.width];
        Ok(Tensor::from_slice(&values).view(shape.map(|side| side as i64)))
    }

    /// Reconstructs the images that are held out, `at_once` at a time, and keeps the first `kept`.
    pub fn reconstruct(
        &self,
        at_once: usize,
        kept: usize,
    ) -> Result<Reconstructions, AutoencoderError> {
        let size = PatchSize {
            height: self.data.height(),
            width: self.data.width(),
        };
        let (mut images, mut reconstructions, mut means) = (Vec::new(), Vec::new(), Vec::new());
        for held_out in self.held_out.chunks(usize::max(at_once, 1)) {
            let requests: Vec<PatchRequest> = held_out
                .iter()
                .map(|&index| PatchRequest {
                    index,
                    row: 0,
                    column: 0,
                    mirrored: false,
                    position: 0,
                })
                .collect();
            let originals = bring(&self.gather(&requests, size)?, self.device);
            let autoencoder = self.autoencoder();
            let count = held_out.len() as i64;
            let latents = autoencoder.encode_batches(&originals, count)?.mean;
            let decoded = autoencoder.decode_batches(&latents, count);
            means.push(latents.to_device(Device::Cpu));
            images.push(to_pixels(&originals).to_device(Device::Cpu));
            reconstructions.push(to_pixels(&decoded).to_device(Device::Cpu));
        }
        let [images, reconstructions] =
            [images, reconstructions].map(|parts| Tensor::cat(&parts, 0));
        let kept = i64::min(kept as i64, images.size()[0]);
        Ok(Reconstructions {
            psnr: psnr(&images, &reconstructions),
            latent_deviation: deviation(&Tensor::cat(&means, 0)),
            images: images.narrow(0, 0, kept),
            reconstructions: reconstructions.narrow(0, 0, kept),
        })
    }

    /// Whether weights and moments have no element that is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.step.is_finite()
    }

    /// Writes all that training resumes from, durably: the file is the old one or the new one, never in between. Returns its
    /// digest.
    pub fn save(&self, path: &Path) -> Result<Digest, NetworkError> {
        let tensors: Vec<(String, Tensor)> = self.step.state().into_iter().collect();
        write_tensors(path, &tensors, &BTreeMap::new())
    }

    /// Resumes from a file of [`save`](Self::save).
    ///
    /// # Errors
    /// [`AutoencoderError`]: unreadable, damaged, of another autoencoder, or past the end of this training. The training is
    /// not to be used then.
    pub fn resume(&mut self, path: &Path) -> Result<(), AutoencoderError> {
        self.step.load_state(&read_safetensors(path)?)?;
        let (steps, total) = (self.steps(), self.settings.steps);
        if steps > total {
            return Err(AutoencoderError::PastEnd { steps, total });
        }
        if !self.is_finite() {
            return Err(AutoencoderError::NotFinite);
        }
        Ok(())
    }
}

/// Standard deviation of all values.
fn deviation(values: &Tensor) -> f64 {
    let values = values.to_kind(Kind::Double);
    let mean = values.mean(Kind::Double);
    let variance = (values - mean).square().mean(Kind::Double);
    variance.sqrt().double_value(&[])
}

fn is_held_out(image: usize) -> bool {
    image % HELD_OUT == HELD_OUT - 1 && image / HELD_OUT < MOST_HELD_OUT
}

fn check(settings: &TrainingOptions, data: &ShardSet) -> Result<(), AutoencoderError> {
    let config = &settings.config;
    config.validate()?;
    let refused = |setting, value: String, problem: String| {
        Err(AutoencoderError::Setting {
            setting,
            value,
            problem,
        })
    };
    let factor = config.factor() as usize;
    let most = usize::min(data.height(), data.width());
    if settings.crop == 0 || !settings.crop.is_multiple_of(factor) || settings.crop > most {
        let problem = format!("crops are multiples of {factor} pixels, and at most {most}");
        return refused("crop", settings.crop.to_string(), problem);
    }
    let channels = data.channels();
    if [config.in_channels, config.out_channels] != [channels.count() as i64; 2] {
        let problem = format!("the images have {} channels", channels.count());
        return refused("in_channels", config.in_channels.to_string(), problem);
    }
    if data.len() < HELD_OUT {
        let problem = format!(
            "one image of {HELD_OUT} is held out, and there are {}",
            data.len()
        );
        return refused("source", "so small".to_owned(), problem);
    }
    if settings.batch_size == 0 || settings.steps == 0 {
        let value = u64::min(settings.batch_size, settings.steps).to_string();
        return refused(
            "batch_size",
            value,
            "`batch_size` and `steps` are above 0".to_owned(),
        );
    }
    debug_assert!(channels == Channels::Rgb || channels == Channels::Grey);
    Ok(())
}

#[cfg(test)]
mod tests;
