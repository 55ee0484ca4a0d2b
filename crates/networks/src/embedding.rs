//! The noise level as a vector.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;

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
