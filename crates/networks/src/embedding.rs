//! The noise level as a vector.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;
use crate::init::Initialization;
use crate::layers::Linear;

/// Which half comes first in the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halves {
    CosineSine,
    SineCosine,
}

/// Sines and cosines of the noise label at several frequencies.
#[derive(Debug)]
pub(crate) struct NoiseEmbedding {
    /// `[channels / 2]`, float32.
    frequencies: Tensor,
    /// 1 or 2π.
    factor: f64,
    halves: Halves,
}

impl NoiseEmbedding {
    /// `(1 / 10000)^(i / (channels / 2 - e))` with e = 1 where the last frequency is to be 1 / 10000 itself (`endpoint`), else 0.
    pub(crate) fn positional(
        builder: &Builder,
        channels: i64,
        endpoint: bool,
        halves: Halves,
    ) -> Self {
        let count = channels / 2;
        let last = count - i64::from(endpoint);
        let exponents = Tensor::arange(count, (Kind::Float, Device::Cpu)) / last as f64;
        let frequencies = (exponents * (1.0f64 / 10000.0).ln())
            .exp()
            .to_device(builder.device());
        Self {
            frequencies,
            factor: 1.0,
            halves,
        }
    }

    /// Frequencies drawn as N(0, 16²) and stored as `map_noise.freqs`.
    pub(crate) fn fourier(builder: &mut Builder, channels: i64, halves: Halves) -> Self {
        let frequencies = builder.buffer("map_noise.freqs".to_owned(), &[channels / 2], || {
            Tensor::randn([channels / 2], (Kind::Float, Device::Cpu)) * 16.0
        });
        Self {
            frequencies,
            factor: 2.0 * PI,
            halves,
        }
    }

    /// `[n]` → `[n, channels]` in the label's element type.
    pub(crate) fn forward(&self, noise_labels: &Tensor) -> Tensor {
        let frequencies = (&self.frequencies * self.factor).to_kind(noise_labels.kind());
        let angles = noise_labels.outer(&frequencies);
        let (sine, cosine) = (angles.sin(), angles.cos());
        match self.halves {
            Halves::CosineSine => Tensor::cat(&[cosine, sine], 1),
            Halves::SineCosine => Tensor::cat(&[sine, cosine], 1),
        }
    }
}

/// The two linear layers between the embedded noise level and what modulates the blocks.
#[derive(Debug)]
pub(crate) struct Mapping {
    layer0: Linear,
    layer1: Linear,
}

impl Mapping {
    /// `map_layer0` and `map_layer1`.
    pub(crate) fn new(
        builder: &mut Builder,
        noise_channels: i64,
        embedding_channels: i64,
        init: &Initialization,
    ) -> Self {
        let mut layer = |name: &str, inputs: i64| {
            Linear::new(builder, name, inputs, embedding_channels, true, init)
        };
        Self {
            layer0: layer("map_layer0", noise_channels),
            layer1: layer("map_layer1", embedding_channels),
        }
    }

    /// `[n, noise_channels]` → `[n, embedding_channels]`, before the activation.
    pub(crate) fn forward(&self, noise: &Tensor) -> Tensor {
        self.layer1.forward(&self.layer0.forward(noise).silu())
    }
}
