//! A convolution with its batch normalisation folded into weight and bias.
//!
//! In evaluation mode batch normalisation is an affine map of each channel, so
//! `w' = w · γ / √(var + ε)` and `b' = β − mean · γ / √(var + ε)` give the same output with one
//! pass over memory less. The products are taken in float64 and rounded once.

use tch::{Device, Kind, Tensor};

use crate::MetricsError;
use crate::parameters::Parameters;

/// Where a layer's parameters are, and how it convolves.
pub(crate) struct ConvolutionSpec<'a> {
    /// Name of the convolution, without `.weight`.
    pub convolution: &'a str,
    /// Name of the batch normalisation, without `.weight`.
    pub normalisation: &'a str,
    /// `[out_channels, in_channels / groups, height, width]`.
    pub weight_shape: [i64; 4],
    /// Step in pixels, both ways.
    pub stride: i64,
    /// Zeros around the image.
    pub padding: Padding,
    /// 1, or the number of channels for a depthwise convolution.
    pub groups: i64,
    /// ε of the batch normalisation.
    pub epsilon: f64,
    /// What follows.
    pub activation: Activation,
}

/// Zeros around the image.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    /// As many zeros as make the output ⌈input / stride⌉ wide, the odd one after the image (TensorFlow's "SAME").
    TensorFlowSame,
    /// So many rows above and below, so many columns left and right.
    Zeros([i64; 2]),
}

/// What follows the affine map.
#[derive(Clone, Copy)]
pub(crate) enum Activation {
    /// Nothing.
    Identity,
    /// No less than 0.
    Relu,
    /// Clamp to [0, 6].
    Relu6,
}

/// A convolution, its folded normalisation and its activation.
pub(crate) struct FoldedConvolution {
    weight: Tensor,
    bias: Tensor,
    kernel: [i64; 2],
    stride: i64,
    padding: Padding,
    groups: i64,
    activation: Activation,
}

/// A copy that shares the weights.
impl Clone for FoldedConvolution {
    fn clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            ..*self
        }
    }
}

impl FoldedConvolution {
    pub(crate) fn new(
        parameters: &Parameters,
        spec: &ConvolutionSpec<'_>,
    ) -> Result<Self, MetricsError> {
        let [channels, _, height, width] = spec.weight_shape;
        let weight = parameters.get(&format!("{}.weight", spec.convolution), &spec.weight_shape)?;
        let norm = |part: &str| {
            let tensor = parameters.get(&format!("{}.{part}", spec.normalisation), &[channels])?;
            Ok::<_, MetricsError>(tensor.to_kind(Kind::Double))
        };
        let scale = norm("weight")? / (norm("running_var")? + spec.epsilon).sqrt();
        let bias = norm("bias")? - norm("running_mean")? * &scale;
        let weight = weight.to_kind(Kind::Double) * scale.view([channels, 1, 1, 1]);
        Ok(Self {
            weight: fast_order(&weight.to_kind(Kind::Float)),
            bias: bias.to_kind(Kind::Float),
            kernel: [height, width],
            stride: spec.stride,
            padding: spec.padding,
            groups: spec.groups,
            activation: spec.activation,
        })
    }

    /// Convolutions of one input that differ in their channels alone, as one with all their channels in order.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn joined(parts: &[Self]) -> Self {
        let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<&Tensor> = parts.iter().map(|part| &part.bias).collect();
        Self {
            weight: fast_order(&Tensor::cat(&weights, 0)),
            bias: Tensor::cat(&biases, 0),
            ..parts[0]
        }
    }

    /// # Shapes
    /// - `input`: `[batch, in_channels, height, width]`, f32
    /// - returns: `[batch, out_channels, height, width]`, f32, of the padded input's size over the stride
    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        let (padded, padding) = self.pad(input);
        let input = padded.as_ref().unwrap_or(input);
        let mut output = input.conv2d(
            &self.weight,
            Some(&self.bias),
            [self.stride; 2],
            padding,
            [1, 1],
            self.groups,
        );
        match self.activation {
            Activation::Identity => output,
            Activation::Relu => output.relu_(),
            Activation::Relu6 => output.clamp_(0.0, 6.0),
        }
    }

    /// The padded input where the padding is uneven, and what is left for the convolution to pad.
    fn pad(&self, input: &Tensor) -> (Option<Tensor>, [i64; 2]) {
        match self.padding {
            Padding::Zeros(padding) => (None, padding),
            Padding::TensorFlowSame => {
                let size = input.size();
                let [top, bottom] = same_padding(size[2], self.kernel[0], self.stride);
                let [left, right] = same_padding(size[3], self.kernel[1], self.stride);
                if top == bottom && left == right {
                    (None, [top, left])
                } else {
                    (
                        Some(input.constant_pad_nd([left, right, top, bottom])),
                        [0, 0],
                    )
                }
            }
        }
    }
}

/// Zeros before and after one side of the image.
fn same_padding(size: i64, kernel: i64, stride: i64) -> [i64; 2] {
    let outputs = size.div_euclid(stride) + i64::from(size.rem_euclid(stride) > 0);
    let total = ((outputs - 1) * stride + kernel - size).max(0);
    [total / 2, total - total / 2]
}

/// The same `[a, b, c, d]` tensor in the memory order that float32 convolutions of its device are fast in: the second
/// dimension innermost on a CPU. On CUDA libtorch would send depthwise ones in that order to cuDNN's slowest kernels.
pub(crate) fn fast_order(tensor: &Tensor) -> Tensor {
    match tensor.device() {
        Device::Cpu => tensor
            .permute([0, 2, 3, 1])
            .contiguous()
            .permute([0, 3, 1, 2]),
        _ => tensor.contiguous(),
    }
}
