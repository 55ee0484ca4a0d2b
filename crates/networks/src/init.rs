//! First values of weights and biases.
//!
//! Xavier: Glorot and Bengio 2010. Kaiming: He et al. 2015, with gain 1.

use tch::{Device, Kind, Tensor};

/// A distribution, up to a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Uniform in ±sqrt(6 / (fan in + fan out)).
    XavierUniform,
    /// Uniform in ±sqrt(3 / fan in).
    KaimingUniform,
    /// Normal with variance 1 / fan in.
    KaimingNormal,
}

/// How a layer's weight and bias begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initialization {
    pub(crate) distribution: Distribution,
    /// Factor on the weight; 0 gives zeros.
    pub(crate) weight: f64,
    /// Factor on the bias; 0 gives zeros.
    pub(crate) bias: f64,
}

impl Initialization {
    /// Biases of zero, weights as given.
    pub(crate) const fn weights_only(distribution: Distribution, weight: f64) -> Self {
        Self {
            distribution,
            weight,
            bias: 0.0,
        }
    }
}

/// What a parameter of a layer begins as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Constant(f64),
    Random {
        distribution: Distribution,
        factor: f64,
        fan_in: i64,
        fan_out: i64,
    },
}

impl Start {
    /// Draws from libtorch's global CPU generator, so that the numbers do not depend on the device.
    pub(crate) fn draw(self, shape: &[i64]) -> Tensor {
        let options = (Kind::Float, Device::Cpu);
        match self {
            Self::Constant(value) => Tensor::full(shape, value, options),
            Self::Random { factor: 0.0, .. } => Tensor::zeros(shape, options),
            Self::Random {
                distribution,
                factor,
                fan_in,
                fan_out,
            } => match distribution {
                Distribution::XavierUniform => {
                    uniform(shape, factor * (6.0 / (fan_in + fan_out) as f64).sqrt())
                }
                Distribution::KaimingUniform => {
                    uniform(shape, factor * (3.0 / fan_in as f64).sqrt())
                }
                Distribution::KaimingNormal => {
                    Tensor::randn(shape, options) * (factor / (fan_in as f64).sqrt())
                }
            },
        }
    }
}

fn uniform(shape: &[i64], bound: f64) -> Tensor {
    (Tensor::rand(shape, (Kind::Float, Device::Cpu)) * 2.0 - 1.0) * bound
}
