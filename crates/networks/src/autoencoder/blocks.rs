//! The blocks that encoder and decoder are made of.

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;
use crate::init::{Distribution, Initialization};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear};

use super::config::AutoencoderConfig;

/// Of every group normalisation.
const EPSILON: f64 = 1e-6;

/// PyTorch's own: weights and biases uniform in ±1 / sqrt(fan in).
pub(super) const INITIALIZATION: Initialization = Initialization {
    distribution: Distribution::KaimingUniform,
    weight: INVERSE_ROOT_OF_THREE,
    bias: INVERSE_ROOT_OF_THREE,
};

const INVERSE_ROOT_OF_THREE: f64 = 0.577_350_269_189_625_8;

/// Of one image alone on a CPU, libtorch computes convolutions of at most so many weights in another way than of several
/// (`use_mkldnn` of its `Convolution.cpp`).
const FEW_WEIGHTS: i64 = 20_480;

/// A convolution that keeps the size.
#[derive(Debug)]
pub(super) struct Conv {
    layer: Conv2d,
    weights: i64,
}

impl Conv {
    pub(super) fn new(
        builder: &mut Builder,
        name: &str,
        inputs: i64,
        outputs: i64,
        kernel: i64,
    ) -> Self {
        let options = ConvOptions::plain(kernel);
        Self {
            layer: Conv2d::new(builder, name, inputs, outputs, &options, &INITIALIZATION),
            weights: outputs * inputs * kernel * kernel,
        }
    }

    /// `[n, inputs, h, w]` → `[n, outputs, h, w]`.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        like_several(x, self.weights, |x| self.layer.forward(x))
    }
}

/// A convolution of one image as that of several: an image's last bits must not depend on how many are beside it.
fn like_several(x: &Tensor, weights: i64, convolve: impl Fn(&Tensor) -> Tensor) -> Tensor {
    if x.size()[0] != 1 || weights > FEW_WEIGHTS || x.device() != Device::Cpu {
        return convolve(x);
    }
    convolve(&Tensor::cat(&[x, x], 0)).narrow(0, 0, 1)
}

/// A group normalisation followed by SiLU.
#[derive(Debug)]
pub(super) struct NormSilu(GroupNorm);

impl NormSilu {
    pub(super) fn new(
        builder: &mut Builder,
        name: &str,
        channels: i64,
        config: &AutoencoderConfig,
    ) -> Self {
        Self(norm(builder, name, channels, config))
    }

    /// Same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let mut normalized = self.0.forward(x);
        // The way back needs what goes into SiLU; without one its memory is used again.
        if normalized.requires_grad() {
            normalized.silu()
        } else {
            normalized.silu_()
        }
    }
}

fn norm(builder: &mut Builder, name: &str, channels: i64, config: &AutoencoderConfig) -> GroupNorm {
    GroupNorm::with_groups(builder, name, channels, config.norm_num_groups, EPSILON)
}

/// Two convolutions beside a shortcut, which is a 1×1 convolution where the number of channels changes.
#[derive(Debug)]
pub(super) struct Residual {
    norm1: NormSilu,
    conv1: Conv,
    norm2: NormSilu,
    conv2: Conv,
    shortcut: Option<Conv>,
}

impl Residual {
    pub(super) fn new(
        builder: &mut Builder,
        name: &str,
        inputs: i64,
        outputs: i64,
        config: &AutoencoderConfig,
    ) -> Self {
        let part = |part: &str| format!("{name}.{part}");
        Self {
            norm1: NormSilu::new(builder, &part("norm1"), inputs, config),
            conv1: Conv::new(builder, &part("conv1"), inputs, outputs, 3),
            norm2: NormSilu::new(builder, &part("norm2"), outputs, config),
            conv2: Conv::new(builder, &part("conv2"), outputs, outputs, 3),
            shortcut: (inputs != outputs)
                .then(|| Conv::new(builder, &part("conv_shortcut"), inputs, outputs, 1)),
        }
    }

    /// `[n, inputs, h, w]` → `[n, outputs, h, w]`.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.conv1.forward(&self.norm1.forward(x));
        let h = self.conv2.forward(&self.norm2.forward(&h));
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x) + h,
            None => x + h,
        }
    }
}

/// Self-attention of one head over all pixels, added to its input.
#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

impl Attention {
    fn new(builder: &mut Builder, name: &str, channels: i64, config: &AutoencoderConfig) -> Self {
        let norm = norm(builder, &format!("{name}.group_norm"), channels, config);
        let mut linear = |part: &str| {
            let name = format!("{name}.{part}");
            Linear::new(builder, &name, channels, channels, true, &INITIALIZATION)
        };
        Self {
            norm,
            query: linear("to_q"),
            key: linear("to_k"),
            value: linear("to_v"),
            output: linear("to_out.0"),
        }
    }

    /// Same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let (n, channels, pixels) = (size[0], size[1], size[2] * size[3]);
        // [n, 1 head, pixels, channels]
        let tokens = (self.norm.forward(x))
            .view([n, 1, channels, pixels])
            .transpose(2, 3);
        let attended = Tensor::scaled_dot_product_attention(
            &self.query.forward(&tokens),
            &self.key.forward(&tokens),
            &self.value.forward(&tokens),
            None::<&Tensor>,
            0.0,
            false,
            None::<f64>,
            false,
        );
        let attended = self.output.forward(&attended);
        x + attended.transpose(2, 3).reshape(&size)
    }
}

/// The lowest level: residual block, attention, residual block.
#[derive(Debug)]
pub(super) struct Middle {
    first: Residual,
    attention: Option<Attention>,
    second: Residual,
}

impl Middle {
    /// `part` is `encoder` or `decoder`.
    pub(super) fn new(builder: &mut Builder, part: &str, config: &AutoencoderConfig) -> Self {
        let channels = config.block_out_channels[config.levels() - 1];
        let name = |block: &str| format!("{part}.mid_block.{block}");
        // In the order in which diffusers registers them.
        let attention = config
            .mid_block_add_attention
            .then(|| Attention::new(builder, &name("attentions.0"), channels, config));
        let mut residual =
            |block: &str| Residual::new(builder, &name(block), channels, channels, config);
        Self {
            attention,
            first: residual("resnets.0"),
            second: residual("resnets.1"),
        }
    }

    /// Same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = self.first.forward(x);
        if let Some(attention) = &self.attention {
            h = attention.forward(&h);
        }
        self.second.forward(&h)
    }
}

/// Halves the size: one more row of zeros at the bottom and one column at the right, then a 3×3 convolution of stride 2
/// without padding.
#[derive(Debug)]
pub(super) struct Downsample {
    weight: Tensor,
    bias: Tensor,
}

impl Downsample {
    pub(super) fn new(builder: &mut Builder, name: &str, channels: i64) -> Self {
        let start = |factor| crate::layers::start(&INITIALIZATION, factor, channels * 9, 0);
        let weight = builder.parameter(
            format!("{name}.weight"),
            &[channels, channels, 3, 3],
            start(INITIALIZATION.weight),
        );
        let bias = builder.parameter(
            format!("{name}.bias"),
            &[channels],
            start(INITIALIZATION.bias),
        );
        Self { weight, bias }
    }

    /// `[n, c, h, w]` → `[n, c, h / 2, w / 2]`.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let padded = x.constant_pad_nd([0, 1, 0, 1]);
        like_several(&padded, self.weight.numel() as i64, |padded| {
            padded.conv2d(&self.weight, Some(&self.bias), [2, 2], [0, 0], [1, 1], 1)
        })
    }
}

/// Doubles the size by repeating pixels.
pub(super) fn double(x: &Tensor) -> Tensor {
    let size = x.size();
    x.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)
}

/// Whether a tensor is float32, which everything here is.
pub(super) fn is_float(x: &Tensor) -> bool {
    x.kind() == Kind::Float
}
