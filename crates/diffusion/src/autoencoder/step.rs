//! One step of training an autoencoder: forward, backward, one update by AdamW.

use std::collections::BTreeMap;

use patchwork_networks::autoencoder::Autoencoder;
use tch::Tensor;

use super::loss::{LossWeights, loss};
use crate::flat::are_finite;
use crate::{Adam, AdamOptions, DiffusionError};

/// A linear ramp from zero, then half a cosine down to a share of the rate at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineRate {
    /// The highest rate.
    pub rate: f64,
    /// Steps of the ramp.
    pub ramp_steps: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The share of the rate that is left at the end.
    pub floor: f64,
}

impl CosineRate {
    /// The rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let ramp = f64::min((step + 1) as f64 / u64::max(self.ramp_steps, 1) as f64, 1.0);
        let done = f64::min(step as f64 / u64::max(self.steps, 1) as f64, 1.0);
        let cosine = 0.5 + 0.5 * (std::f64::consts::PI * done).cos();
        self.rate * ramp * (self.floor + (1.0 - self.floor) * cosine)
    }
}

/// What training an autoencoder needs to know beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoencoderOptions {
    /// The parts of the objective.
    pub loss: LossWeights,
    /// The learning rate.
    pub learning_rate: CosineRate,
    /// Adam's constants.
    pub adam: AdamOptions,
    /// Share of every weight that is taken away in a step, times the learning rate (Loshchilov and Hutter 2019).
    pub weight_decay: f64,
    /// Largest norm of the gradients.
    pub max_gradient_norm: f64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoencoderReport {
    /// The objective.
    pub loss: f64,
    /// Mean absolute error of a pixel value in [-1, 1].
    pub absolute: f64,
    /// Mean squared error of a pixel value in [-1, 1].
    pub squared: f64,
    /// Divergence for each pixel value.
    pub divergence: f64,
    /// Norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Share of the gradients' elements that were NaN or infinite.
    pub cleaned_share: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
}

/// An autoencoder in training.
pub struct AutoencoderStep {
    autoencoder: Autoencoder,
    options: AutoencoderOptions,
    adam: Adam,
}

impl AutoencoderStep {
    /// Before the first step.
    pub fn new(autoencoder: Autoencoder, options: AutoencoderOptions) -> Self {
        let adam = Adam::new(autoencoder.parameters(), options.adam);
        Self {
            autoencoder,
            options,
            adam,
        }
    }

    /// The autoencoder as it stands.
    pub fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.adam.step_count().cast_unsigned()
    }

    /// Makes one step.
    ///
    /// # Shapes
    /// - `images`: `[n, channels, h, w]`, f32 in [-1, 1]; h and w multiples of the autoencoder's factor
    /// - `noise`: standard normal, of the latents' shape
    ///
    /// # Errors
    /// [`DiffusionError::Network`] for images that cannot be encoded; nothing is changed then.
    ///
    /// # Determinism
    /// On one machine with one number of threads, a function of the state and the arguments.
    pub fn step(
        &mut self,
        images: &Tensor,
        noise: &Tensor,
    ) -> Result<AutoencoderReport, DiffusionError> {
        let learning_rate = self.options.learning_rate.at(self.steps());
        self.adam.zero_grad();
        let terms = loss(&self.autoencoder, images, noise, &self.options.loss)?;
        terms.total.backward();
        self.adam.gather();
        let gradients = self.adam.clean(Some(self.options.max_gradient_norm), 1.0);
        tch::no_grad(|| {
            let mut values = self.adam.values().shallow_clone();
            values *= 1.0 - learning_rate * self.options.weight_decay;
        });
        self.adam.update(learning_rate);
        let number = |tensor: &Tensor| tensor.double_value(&[]);
        Ok(AutoencoderReport {
            loss: number(&terms.total),
            absolute: number(&terms.absolute),
            squared: number(&terms.squared),
            divergence: number(&terms.divergence),
            gradient_norm: number(&gradients.norm),
            cleaned_share: number(&gradients.cleaned_share),
            learning_rate,
        })
    }

    /// Whether weights and moments have no element that is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        are_finite(self.adam.buffers())
    }

    /// Everything that training resumes from, by name: weights under `autoencoder/`, and the optimiser's state.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = self.adam.state();
        let weights = self.autoencoder.parameters().into_iter();
        state.extend(weights.map(|parameter| (weight_name(&parameter.name), parameter.tensor)));
        state
    }

    /// Resumes from a saved state.
    ///
    /// # Errors
    /// [`DiffusionError::MissingState`], [`DiffusionError::StateShape`].
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), DiffusionError> {
        for parameter in self.autoencoder.parameters() {
            let name = weight_name(&parameter.name);
            let stored = state
                .get(&name)
                .ok_or_else(|| DiffusionError::MissingState(name.clone()))?;
            let mut tensor = parameter.tensor;
            if stored.size() != tensor.size() {
                return Err(DiffusionError::StateShape {
                    name,
                    expected: tensor.size(),
                    found: stored.size(),
                });
            }
            tch::no_grad(|| tensor.copy_(stored));
        }
        self.adam.load_state(state)
    }
}

fn weight_name(name: &str) -> String {
    format!("autoencoder/{name}")
}

#[cfg(test)]
mod tests {
    use patchwork_networks::autoencoder::AutoencoderConfig;
    use tch::{Device, Kind};

    use super::*;
    use crate::autoencoder::psnr;
    use crate::latents::seeded;
    use crate::to_pixels;

    fn fresh() -> AutoencoderStep {
        let config = AutoencoderConfig {
            block_out_channels: vec![8, 16],
            norm_num_groups: 4,
            ..AutoencoderConfig::default()
        };
        let autoencoder = {
            let _guard = seeded(0);
            Autoencoder::new(&config, Device::Cpu, 3).unwrap()
        };
        let options = AutoencoderOptions {
            loss: LossWeights::default(),
            learning_rate: CosineRate {
                rate: 2e-3,
                ramp_steps: 5,
                steps: 24,
                floor: 0.05,
            },
            adam: AdamOptions {
                beta2: 0.99,
                ..AdamOptions::default()
            },
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
        };
        AutoencoderStep::new(autoencoder, options)
    }

    /// Smooth colours, other ones in every step.
    fn images(step: u64) -> Tensor {
        let numbers = Tensor::arange(2 * 3 * 16 * 16, (Kind::Float, Device::Cpu));
        ((numbers * 0.01 + step as f64).sin() * 0.8).reshape([2, 3, 16, 16])
    }

    fn noise(step: u64) -> Tensor {
        let numbers = Tensor::arange(2 * 4 * 8 * 8, (Kind::Float, Device::Cpu));
        ((numbers * 12.9 + step as f64).sin() * 1.4).reshape([2, 4, 8, 8])
    }

    #[test]
    fn the_rate_ramps_and_falls_to_its_floor() {
        let rate = CosineRate {
            rate: 2.0,
            ramp_steps: 4,
            steps: 100,
            floor: 0.05,
        };
        for (step, expected) in [(50, 1.05), (100, 0.1), (200, 0.1)] {
            assert!((rate.at(step) - expected).abs() < 1e-12, "{step}");
        }
        assert!((rate.at(0) - 0.5).abs() < 1e-12 && rate.at(1) > rate.at(0));
    }

    #[test]
    fn reconstructions_get_better_and_a_resumed_training_is_the_same() {
        let quality = |step: &AutoencoderStep| {
            let images = images(100);
            let autoencoder = step.autoencoder();
            let latents = autoencoder.encode_batches(&images, 2).unwrap().mean;
            psnr(
                &to_pixels(&images),
                &to_pixels(&autoencoder.decode_batches(&latents, 2)),
            )
        };
        let mut whole = fresh();
        let before = quality(&whole);
        let mut saved = BTreeMap::new();
        for step in 0..24 {
            if step == 12 {
                let state = whole.state().into_iter();
                saved = state.map(|(name, tensor)| (name, tensor.copy())).collect();
            }
            let report = whole.step(&images(step), &noise(step)).unwrap();
            assert!(report.loss.is_finite() && report.cleaned_share == 0.0);
        }
        let after = quality(&whole);
        assert!(after > before + 1.0, "{before} dB, then {after} dB");

        let mut resumed = fresh();
        resumed.load_state(&saved).unwrap();
        for step in 12..24 {
            resumed.step(&images(step), &noise(step)).unwrap();
        }
        for (name, tensor) in resumed.state() {
            assert!(tensor.equal(&whole.state()[&name]), "{name}");
        }
        assert!(resumed.load_state(&BTreeMap::new()).is_err());
    }
}
