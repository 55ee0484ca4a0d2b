//! Linear, convolution and group normalisation. Weights of the first two are cast to the input's element type at each
//! use, so that gradients reach the stored (float32) weights whatever precision the network runs in.

use patchwork_libtorch::channels_last;
use tch::{Device, Kind, Tensor};

use crate::builder::Builder;
use crate::config::group_count;
use crate::features::{Features, done};
use crate::init::{Initialization, Start};
use crate::resample::{Direction, Resampler};

/// Most weights that layers with one input have together if they are joined: 16 MiB.
const MOST_JOINED: usize = 1 << 22;

/// Images that a layer sees at once on a CPU, by guess.
const USUAL_IMAGES: usize = 8;

/// `weight [outputs, inputs]`, optional `bias [outputs]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(
        builder: &mut Builder,
        name: &str,
        inputs: i64,
        outputs: i64,
        has_bias: bool,
        init: &Initialization,
    ) -> Self {
        let start = |factor| start(init, factor, inputs, outputs);
        let weight = builder.exact_parameter(
            format!("{name}.weight"),
            &[outputs, inputs],
            start(init.weight),
        );
        let bias = has_bias
            .then(|| builder.exact_parameter(format!("{name}.bias"), &[outputs], start(init.bias)));
        Self { weight, bias }
    }

    /// `[n, inputs]` → `[n, outputs]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(
            &self.weight.to_kind(kind),
            self.bias.as_ref().map(|bias| bias.to_kind(kind)),
        )
    }

    /// `[n, inputs]` → the outputs of several layers side by side, in one product where the weights are so few that
    /// starting operations takes longer than joining them. All layers have a bias.
    pub(crate) fn forward_joined(layers: &[&Self], x: &Tensor) -> Tensor {
        let (weights, biases): (Vec<&Tensor>, Vec<&Tensor>) = layers
            .iter()
            .map(|layer| {
                let bias = layer.bias.as_ref().expect("joined layers have a bias");
                (&layer.weight, bias)
            })
            .unzip();
        let count: usize = weights.iter().map(|weight| weight.numel()).sum();
        if count > MOST_JOINED {
            let outputs: Vec<Tensor> = layers.iter().map(|layer| layer.forward(x)).collect();
            return Tensor::cat(&outputs, 1);
        }
        let [weight, bias] =
            [weights, biases].map(|tensors| Tensor::cat(&tensors, 0).to_kind(x.kind()));
        x.linear(&weight, Some(bias))
    }

    pub(crate) fn outputs(&self) -> i64 {
        self.weight.size()[0]
    }
}

/// What a [`Conv2d`] does besides convolving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvOptions<'a> {
    /// Side of the kernel; 0 = resampling only.
    pub(crate) kernel: i64,
    /// Resampling, before the convolution.
    pub(crate) direction: Option<Direction>,
    /// Down only: the convolution comes first, over a wider border, and the filter then needs none.
    pub(crate) fused: bool,
    /// The resampling filter.
    pub(crate) taps: &'a [i64],
    /// Whether the weights keep their element type in copies, for an input in theirs.
    pub(crate) exact: bool,
}

impl ConvOptions<'_> {
    /// A convolution that keeps the size.
    pub(crate) const fn plain(kernel: i64) -> Self {
        Self {
            kernel,
            direction: None,
            fused: false,
            taps: &[],
            exact: false,
        }
    }

    /// [`plain`](Self::plain), for the network's input. It is float32: the noise of low levels is hardly larger than
    /// bfloat16's steps, and a rounded image would hide it.
    pub(crate) const fn input(kernel: i64) -> Self {
        Self {
            exact: true,
            ..Self::plain(kernel)
        }
    }
}

/// `weight [outputs, inputs, k, k]`, `bias [outputs]`, with optional resampling.
#[derive(Debug)]
pub(crate) struct Conv2d {
    convolution: Option<(Tensor, Tensor)>,
    padding: i64,
    resampler: Option<Resampler>,
    fused: bool,
}

impl Conv2d {
    pub(crate) fn new(
        builder: &mut Builder,
        name: &str,
        inputs: i64,
        outputs: i64,
        options: &ConvOptions,
        init: &Initialization,
    ) -> Self {
        let kernel = options.kernel;
        let convolution = (kernel > 0).then(|| {
            let area = kernel * kernel;
            let start = |factor| start(init, factor, inputs * area, outputs * area);
            let mut parameter = |part, shape: &[i64], factor| {
                let (name, start) = (format!("{name}.{part}"), start(factor));
                if options.exact {
                    builder.exact_parameter(name, shape, start)
                } else {
                    builder.parameter(name, shape, start)
                }
            };
            let weight = parameter("weight", &[outputs, inputs, kernel, kernel], init.weight);
            (weight, parameter("bias", &[outputs], init.bias))
        });
        let resampler = options
            .direction
            .map(|direction| Resampler::new(builder, name, direction, options.taps));
        Self {
            convolution,
            padding: kernel / 2,
            resampler,
            fused: options.fused,
        }
    }

    /// `[n, inputs, h, w]` → `[n, outputs, h', w']` with the size kept, halved or doubled.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_scaled(x, 1.0, 1.0)
    }

    /// `scale` times the layer of `boost` times `x`: the factors are put on the smaller of weights and features, which
    /// are the weights on a GPU and its batches. On a CPU it is judged as if there were always [`USUAL_IMAGES`]: an
    /// image's last bits must not depend on how many others are drawn with it.
    pub(crate) fn forward_scaled(&self, x: &Tensor, scale: f64, boost: f64) -> Tensor {
        let Some((weight, bias)) = &self.convolution else {
            return self
                .resampler
                .as_ref()
                .map_or_else(|| x.shallow_clone(), |resampler| resampler.forward(x));
        };
        let kind = x.kind();
        let features = x.numel() / x.size()[0].max(1) as usize * USUAL_IMAGES;
        let is_smaller = x.device() == Device::Cpu && features < weight.numel();
        if is_smaller && !is_one(scale * boost) {
            let x = scaled(x, boost);
            let mut output = self.apply(&x, &weight.to_kind(kind), &bias.to_kind(kind));
            return output.g_mul_scalar_(scale);
        }
        self.apply(
            x,
            &scaled(weight, scale * boost).to_kind(kind),
            &scaled(bias, scale).to_kind(kind),
        )
    }

    fn apply(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let Some(resampler) = &self.resampler else {
            return convolve(x, weight, Some(bias), self.padding);
        };
        if self.fused {
            // The filter sums to 1 and sees no border, so the bias may pass through it.
            let convolved = convolve(x, weight, Some(bias), self.padding + resampler.padding());
            return resampler.forward_padded(&convolved);
        }
        if self.padding == 0 && resampler.direction == Direction::Up {
            // Mixing channels commutes with doubling, and costs a quarter at the small size.
            if resampler.is_box() {
                return resampler.forward(&convolve(x, weight, Some(bias), 0));
            }
            return resampler.forward(&convolve(x, weight, None, 0)) + bias.view([1, -1, 1, 1]);
        }
        convolve(&resampler.forward(x), weight, Some(bias), self.padding)
    }
}

fn scaled(tensor: &Tensor, factor: f64) -> Tensor {
    if is_one(factor) {
        tensor.shallow_clone()
    } else {
        tensor * factor
    }
}

/// Whether a factor changes nothing.
pub(crate) fn is_one(factor: f64) -> bool {
    (factor - 1.0).abs() < f64::EPSILON
}

fn convolve(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, padding: i64) -> Tensor {
    x.conv2d(weight, bias, [1, 1], [padding, padding], [1, 1], 1)
}

/// Group normalisation, over min(32, channels / 4) groups unless said otherwise; `weight`, `bias` `[channels]`.
///
/// Weights and statistics are float32 whatever precision the features have: with weights in the features' precision
/// libtorch would round the statistics that its way back reads, and be off by more than a percent.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    epsilon: f64,
    is_fused: bool,
}

impl GroupNorm {
    pub(crate) fn new(builder: &mut Builder, name: &str, channels: i64, epsilon: f64) -> Self {
        Self::with_groups(builder, name, channels, group_count(channels), epsilon)
    }

    /// Over a number of groups of its own.
    pub(crate) fn with_groups(
        builder: &mut Builder,
        name: &str,
        channels: i64,
        groups: i64,
        epsilon: f64,
    ) -> Self {
        let mut parameter = |part, value| {
            builder.exact_parameter(
                format!("{name}.{part}"),
                &[channels],
                Start::Constant(value),
            )
        };
        Self {
            weight: parameter("weight", 1.0),
            bias: parameter("bias", 0.0),
            groups,
            epsilon,
            is_fused: builder.features() == Features::FusedNormalization,
        }
    }

    /// Same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        if self.is_fused {
            return self.fused(x, false);
        }
        let kind = x.kind();
        match (kind, x.device()) {
            (Kind::BFloat16 | Kind::Half, Device::Cpu) => {
                self.normalize(x, &self.weight, &self.bias)
            }
            // Other devices' kernels want features and weights alike.
            (Kind::BFloat16 | Kind::Half, _) => self
                .normalize(&x.to_kind(Kind::Float), &self.weight, &self.bias)
                .to_kind(kind),
            _ => self.normalize(x, &self.weight.to_kind(kind), &self.bias.to_kind(kind)),
        }
    }

    /// [`forward`](Self::forward), and SiLU of it.
    pub(crate) fn forward_silu(&self, x: &Tensor) -> Tensor {
        if self.is_fused {
            return self.fused(x, true);
        }
        self.forward(x).silu()
    }

    fn fused(&self, x: &Tensor, silu: bool) -> Tensor {
        let kind = match x.kind() {
            Kind::Double => Kind::Double,
            _ => Kind::Float,
        };
        let norm = channels_last::GroupNorm {
            weight: &self.weight.to_kind(kind),
            bias: &self.bias.to_kind(kind),
            groups: self.groups,
            epsilon: self.epsilon,
        };
        done(channels_last::group_norm(x, &norm, silu))
    }

    fn normalize(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(weight), Some(bias), self.epsilon, true)
    }
}

/// How a weight or bias begins.
pub(crate) fn start(init: &Initialization, factor: f64, fan_in: i64, fan_out: i64) -> Start {
    Start::Random {
        distribution: init.distribution,
        factor,
        fan_in,
        fan_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Distribution;

    #[test]
    fn an_image_does_not_depend_on_those_beside_it() {
        let init = Initialization::weights_only(Distribution::XavierUniform, 1.0);
        let mut builder = Builder::fresh(Device::Cpu);
        let conv = Conv2d::new(&mut builder, "conv", 64, 64, &ConvOptions::plain(3), &init);
        // With few images there are fewer features than weights, with many more.
        let numbers = Tensor::arange(16 * 64 * 64, (Kind::Float, Device::Cpu));
        let many = numbers.sin().reshape([16, 64, 8, 8]);
        let few = many.narrow(0, 0, 4).contiguous();
        let [many, few] = [many, few].map(|x| conv.forward_scaled(&x, 0.5f64.sqrt(), 1.1));
        assert!(many.narrow(0, 0, 4).equal(&few));
    }

    #[test]
    fn joined_layers_do_what_each_does() {
        let init = Initialization::weights_only(Distribution::XavierUniform, 1.0);
        let inputs = 1024;
        // Few weights, and more than are joined.
        for outputs in [[3, 5], [64, MOST_JOINED as i64 / inputs]] {
            let mut builder = Builder::fresh(Device::Cpu);
            let layers = outputs.map(|outputs| {
                let name = format!("layer{outputs}");
                Linear::new(&mut builder, &name, inputs, outputs, true, &init)
            });
            let numbers = Tensor::arange(2 * inputs, (Kind::Float, Device::Cpu));
            let x = numbers.sin().reshape([2, inputs]);
            let joined = Linear::forward_joined(&layers.each_ref(), &x);
            let apart = layers.each_ref().map(|layer| layer.forward(&x));
            assert_eq!(joined.size(), [2, outputs[0] + outputs[1]]);
            assert!(joined.allclose(&Tensor::cat(&apart, 1), 1e-5, 1e-6, false));
        }
    }
}
