//! The layers of EfficientNet-Lite0, by their published parameter names.

use tch::{Kind, Tensor};

use crate::MetricsError;
use crate::folded_convolution::{
    Activation, ConvolutionSpec, FoldedConvolution, Padding, fast_order,
};
use crate::parameters::Parameters;

/// Width of the pooled features.
pub(super) const FEATURES: i64 = 1280;
/// ImageNet's classes.
const CLASSES: i64 = 1000;
const STEM_CHANNELS: i64 = 32;
const EPSILON: f64 = 1e-3;

/// A group of equal blocks; only the first of them has the stride.
struct Stage {
    blocks: usize,
    kernel: i64,
    stride: i64,
    expansion: i64,
    channels: i64,
}

const fn stage(blocks: usize, kernel: i64, stride: i64, expansion: i64, channels: i64) -> Stage {
    Stage {
        blocks,
        kernel,
        stride,
        expansion,
        channels,
    }
}

/// Tan and Le 2019, Table 1, at width and depth 1 (Lite models scale neither stem nor head).
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// The network from the normalised image to features and logits.
pub(super) struct Network {
    stem: FoldedConvolution,
    blocks: Vec<InvertedResidual>,
    head: FoldedConvolution,
    classifier_weight: Tensor,
    classifier_bias: Tensor,
}

impl Network {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, MetricsError> {
        let stem = FoldedConvolution::new(
            parameters,
            &ConvolutionSpec {
                convolution: "_conv_stem",
                normalisation: "_bn0",
                weight_shape: [STEM_CHANNELS, 3, 3, 3],
                stride: 2,
                ..pointwise()
            },
        )?;
        let mut blocks = Vec::new();
        let mut in_channels = STEM_CHANNELS;
        for stage in &STAGES {
            for position in 0..stage.blocks {
                let stride = if position == 0 { stage.stride } else { 1 };
                blocks.push(InvertedResidual::new(
                    parameters,
                    blocks.len(),
                    stage,
                    stride,
                    in_channels,
                )?);
                in_channels = stage.channels;
            }
        }
        let head = FoldedConvolution::new(
            parameters,
            &ConvolutionSpec {
                convolution: "_conv_head",
                normalisation: "_bn1",
                weight_shape: [FEATURES, in_channels, 1, 1],
                ..pointwise()
            },
        )?;
        Ok(Self {
            stem,
            blocks,
            head,
            classifier_weight: parameters.get("_fc.weight", &[CLASSES, FEATURES])?,
            classifier_bias: parameters.get("_fc.bias", &[CLASSES])?,
        })
    }

    /// # Shapes
    /// - `input`: `[batch, 3, 224, 224]`, f32
    /// - returns: `[batch, 1280]`, f32, the mean over the last map
    pub(super) fn features(&self, input: &Tensor) -> Tensor {
        let mut hidden = self.stem.forward(&fast_order(input)); // [batch, 32, 112, 112]
        for block in &self.blocks {
            hidden = block.forward(&hidden);
        }
        let map = self.head.forward(&hidden); // [batch, 1280, 7, 7]
        map.mean_dim([2i64, 3].as_slice(), false, Kind::Float)
    }

    /// # Shapes
    /// - `features`: `[batch, 1280]`, f32
    /// - returns: `[batch, 1000]`, f32
    pub(super) fn logits(&self, features: &Tensor) -> Tensor {
        features.linear(&self.classifier_weight, Some(&self.classifier_bias))
    }
}

/// A copy that shares the weights.
impl Clone for Network {
    fn clone(&self) -> Self {
        Self {
            stem: self.stem.clone(),
            blocks: self.blocks.clone(),
            head: self.head.clone(),
            classifier_weight: self.classifier_weight.shallow_clone(),
            classifier_bias: self.classifier_bias.shallow_clone(),
        }
    }
}

/// Expand, convolve each channel, project: Sandler et al. 2018 (arXiv 1801.04381), Table 1.
#[derive(Clone)]
struct InvertedResidual {
    expand: Option<FoldedConvolution>,
    depthwise: FoldedConvolution,
    project: FoldedConvolution,
    residual: bool,
}

impl InvertedResidual {
    fn new(
        parameters: &Parameters,
        index: usize,
        stage: &Stage,
        stride: i64,
        in_channels: i64,
    ) -> Result<Self, MetricsError> {
        let path = format!("_blocks.{index}");
        let hidden_channels = in_channels * stage.expansion;
        let expand = if stage.expansion == 1 {
            None
        } else {
            let spec = ConvolutionSpec {
                convolution: &format!("{path}._expand_conv"),
                normalisation: &format!("{path}._bn0"),
                weight_shape: [hidden_channels, in_channels, 1, 1],
                ..pointwise()
            };
            Some(FoldedConvolution::new(parameters, &spec)?)
        };
        let depthwise = FoldedConvolution::new(
            parameters,
            &ConvolutionSpec {
                convolution: &format!("{path}._depthwise_conv"),
                normalisation: &format!("{path}._bn1"),
                weight_shape: [hidden_channels, 1, stage.kernel, stage.kernel],
                stride,
                groups: hidden_channels,
                ..pointwise()
            },
        )?;
        let project = FoldedConvolution::new(
            parameters,
            &ConvolutionSpec {
                convolution: &format!("{path}._project_conv"),
                normalisation: &format!("{path}._bn2"),
                weight_shape: [stage.channels, hidden_channels, 1, 1],
                activation: Activation::Identity,
                ..pointwise()
            },
        )?;
        let residual = stride == 1 && in_channels == stage.channels;
        Ok(Self {
            expand,
            depthwise,
            project,
            residual,
        })
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let expanded = self.expand.as_ref().map(|expand| expand.forward(input));
        let hidden = self.depthwise.forward(expanded.as_ref().unwrap_or(input));
        let mut output = self.project.forward(&hidden);
        if self.residual {
            output.g_add_(input)
        } else {
            output
        }
    }
}

/// What most layers have in common: a 1×1 convolution and ReLU6.
fn pointwise<'a>() -> ConvolutionSpec<'a> {
    ConvolutionSpec {
        convolution: "",
        normalisation: "",
        weight_shape: [1, 1, 1, 1],
        stride: 1,
        padding: Padding::TensorFlowSame,
        groups: 1,
        epsilon: EPSILON,
        activation: Activation::Relu6,
    }
}
