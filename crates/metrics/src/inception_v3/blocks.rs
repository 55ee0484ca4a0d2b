//! The blocks of Inception-v3 by their published parameter names.
//!
//! All 1×1 convolutions that read a block's input are done as one. An average of neighbours and a 1×1 convolution may
//! change places, so that the average is taken over fewer channels.

use tch::Tensor;

use crate::MetricsError;
use crate::folded_convolution::{Activation, ConvolutionSpec, FoldedConvolution, Padding};
use crate::parameters::Parameters;

/// ε of every batch normalisation.
const EPSILON: f64 = 1e-3;

/// A convolution with normalisation and ReLU, named as published: `NAME.conv` and `NAME.bn`.
///
/// `weight_shape` is `[out_channels, in_channels, height, width]`.
pub(super) fn convolution(
    parameters: &Parameters,
    name: &str,
    weight_shape: [i64; 4],
    stride: i64,
    padding: [i64; 2],
) -> Result<FoldedConvolution, MetricsError> {
    layer(
        parameters,
        name,
        weight_shape,
        stride,
        padding,
        Activation::Relu,
    )
}

fn layer(
    parameters: &Parameters,
    name: &str,
    weight_shape: [i64; 4],
    stride: i64,
    padding: [i64; 2],
    activation: Activation,
) -> Result<FoldedConvolution, MetricsError> {
    FoldedConvolution::new(
        parameters,
        &ConvolutionSpec {
            convolution: &format!("{name}.conv"),
            normalisation: &format!("{name}.bn"),
            weight_shape,
            stride,
            padding: Padding::Zeros(padding),
            groups: 1,
            epsilon: EPSILON,
            activation,
        },
    )
}

/// The largest of 3×3 pixels, every second one.
pub(super) fn halved(input: &Tensor) -> Tensor {
    input.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)
}

/// The mean of the pixels around, without the padding.
fn average(input: &Tensor) -> Tensor {
    input.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)
}

/// One step of a branch: its name after the block's, its kernel and its output channels.
pub(super) type Step = (&'static str, [i64; 2], i64);

/// Some branches of a block, all of which begin with a 1×1 convolution of its input.
#[derive(Clone)]
struct Branches {
    /// The first steps of all branches in one convolution, without activation.
    entry: FoldedConvolution,
    branches: Vec<Branch>,
}

#[derive(Clone)]
struct Branch {
    /// Channels of its part of the entry.
    channels: i64,
    rest: Vec<FoldedConvolution>,
    end: End,
}

/// What is special about a branch.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Nothing.
    Plain,
    /// Its input is averaged first; here its output is, before the activation.
    Averaged,
    /// The last two steps read the same input and are put side by side.
    Forked,
}

impl Branches {
    fn new(
        parameters: &Parameters,
        block: &str,
        in_channels: i64,
        branches: &[(&[Step], End)],
        last_stride: i64,
    ) -> Result<Self, MetricsError> {
        let mut entries = Vec::new();
        let mut built = Vec::new();
        for (steps, end) in branches {
            let (first, kernel, channels) = steps[0];
            let name = format!("{block}.{first}");
            let shape = [channels, in_channels, kernel[0], kernel[1]];
            entries.push(layer(
                parameters,
                &name,
                shape,
                1,
                [0, 0],
                Activation::Identity,
            )?);
            let mut rest = Vec::new();
            let mut before = channels;
            for (position, (step, kernel, out)) in steps.iter().enumerate().skip(1) {
                let is_last = position + 1 == steps.len();
                let (stride, padding) = if is_last && last_stride > 1 {
                    (last_stride, [0, 0])
                } else {
                    (1, [kernel[0] / 2, kernel[1] / 2])
                };
                let shape = [*out, before, kernel[0], kernel[1]];
                let name = format!("{block}.{step}");
                rest.push(convolution(parameters, &name, shape, stride, padding)?);
                // Both prongs of a fork read what comes before it.
                let is_first_prong = *end == End::Forked && position + 2 == steps.len();
                before = if is_first_prong { before } else { *out };
            }
            built.push(Branch {
                channels,
                rest,
                end: *end,
            });
        }
        Ok(Self {
            entry: FoldedConvolution::joined(&entries),
            branches: built,
        })
    }

    fn forward(&self, input: &Tensor) -> Vec<Tensor> {
        let entry = self.entry.forward(input);
        let mut start = 0;
        let mut outputs = Vec::new();
        for branch in &self.branches {
            let part = entry.narrow(1, start, branch.channels);
            start += branch.channels;
            outputs.extend(branch.forward(&part));
        }
        outputs
    }
}

impl Branch {
    fn forward(&self, entry: &Tensor) -> Vec<Tensor> {
        let hidden = match self.end {
            End::Averaged => average(entry).relu_(),
            _ => entry.relu(),
        };
        let (line, prongs) = match self.end {
            End::Forked => self.rest.split_at(self.rest.len() - 2),
            _ => (&self.rest[..], &[][..]),
        };
        let hidden = line
            .iter()
            .fold(hidden, |hidden, step| step.forward(&hidden));
        if prongs.is_empty() {
            vec![hidden]
        } else {
            prongs.iter().map(|prong| prong.forward(&hidden)).collect()
        }
    }
}

/// A block that keeps the side.
#[derive(Clone)]
pub(super) struct Block {
    branches: Branches,
    /// The last block's pooling branch takes the maximum, which does not change places with a convolution.
    of_maxima: Option<FoldedConvolution>,
}

impl Block {
    fn new(
        parameters: &Parameters,
        name: &str,
        in_channels: i64,
        branches: &[(&[Step], End)],
    ) -> Result<Self, MetricsError> {
        Ok(Self {
            branches: Branches::new(parameters, name, in_channels, branches, 1)?,
            of_maxima: None,
        })
    }

    /// 35 × 35: `[batch, in_channels, 35, 35]` → `[batch, 224 + pool, 35, 35]`.
    pub(super) fn a(
        parameters: &Parameters,
        name: &str,
        in_channels: i64,
        pool: i64,
    ) -> Result<Self, MetricsError> {
        let branches: [(&[Step], End); 4] = [
            (&[("branch1x1", [1, 1], 64)], End::Plain),
            (
                &[("branch5x5_1", [1, 1], 48), ("branch5x5_2", [5, 5], 64)],
                End::Plain,
            ),
            (
                &[
                    ("branch3x3dbl_1", [1, 1], 64),
                    ("branch3x3dbl_2", [3, 3], 96),
                    ("branch3x3dbl_3", [3, 3], 96),
                ],
                End::Plain,
            ),
            (&[("branch_pool", [1, 1], pool)], End::Averaged),
        ];
        Self::new(parameters, name, in_channels, &branches)
    }

    /// 17 × 17: `[batch, 768, 17, 17]` → the same shape.
    pub(super) fn c(parameters: &Parameters, name: &str, inner: i64) -> Result<Self, MetricsError> {
        let branches: [(&[Step], End); 4] = [
            (&[("branch1x1", [1, 1], 192)], End::Plain),
            (
                &[
                    ("branch7x7_1", [1, 1], inner),
                    ("branch7x7_2", [1, 7], inner),
                    ("branch7x7_3", [7, 1], 192),
                ],
                End::Plain,
            ),
            (
                &[
                    ("branch7x7dbl_1", [1, 1], inner),
                    ("branch7x7dbl_2", [7, 1], inner),
                    ("branch7x7dbl_3", [1, 7], inner),
                    ("branch7x7dbl_4", [7, 1], inner),
                    ("branch7x7dbl_5", [1, 7], 192),
                ],
                End::Plain,
            ),
            (&[("branch_pool", [1, 1], 192)], End::Averaged),
        ];
        Self::new(parameters, name, 768, &branches)
    }

    /// 8 × 8: `[batch, in_channels, 8, 8]` → `[batch, 2048, 8, 8]`.
    pub(super) fn e(
        parameters: &Parameters,
        name: &str,
        in_channels: i64,
        maximum: bool,
    ) -> Result<Self, MetricsError> {
        let branches: [(&[Step], End); 4] = [
            (&[("branch1x1", [1, 1], 320)], End::Plain),
            (
                &[
                    ("branch3x3_1", [1, 1], 384),
                    ("branch3x3_2a", [1, 3], 384),
                    ("branch3x3_2b", [3, 1], 384),
                ],
                End::Forked,
            ),
            (
                &[
                    ("branch3x3dbl_1", [1, 1], 448),
                    ("branch3x3dbl_2", [3, 3], 384),
                    ("branch3x3dbl_3a", [1, 3], 384),
                    ("branch3x3dbl_3b", [3, 1], 384),
                ],
                End::Forked,
            ),
            (&[("branch_pool", [1, 1], 192)], End::Averaged),
        ];
        if !maximum {
            return Self::new(parameters, name, in_channels, &branches);
        }
        let mut block = Self::new(parameters, name, in_channels, &branches[..3])?;
        let shape = [192, in_channels, 1, 1];
        let pool = convolution(parameters, &format!("{name}.branch_pool"), shape, 1, [0, 0])?;
        block.of_maxima = Some(pool);
        Ok(block)
    }

    pub(super) fn forward(&self, input: &Tensor) -> Tensor {
        Tensor::cat(&self.parts(input), 1)
    }

    /// The output before it is put together; the first part is the branch of one 1×1 convolution.
    pub(super) fn parts(&self, input: &Tensor) -> Vec<Tensor> {
        let mut parts = self.branches.forward(input);
        if let Some(convolution) = &self.of_maxima {
            let maxima = input.max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false);
            parts.push(convolution.forward(&maxima));
        }
        parts
    }
}

/// A block that halves the side.
#[derive(Clone)]
pub(super) struct Reduction {
    /// Convolutions of the input that have no 1×1 before them.
    direct: Vec<FoldedConvolution>,
    branches: Branches,
}

impl Reduction {
    /// `[batch, 288, 35, 35]` → `[batch, 768, 17, 17]`.
    pub(super) fn b(parameters: &Parameters, name: &str) -> Result<Self, MetricsError> {
        let direct = format!("{name}.branch3x3");
        let branches: [(&[Step], End); 1] = [(
            &[
                ("branch3x3dbl_1", [1, 1], 64),
                ("branch3x3dbl_2", [3, 3], 96),
                ("branch3x3dbl_3", [3, 3], 96),
            ],
            End::Plain,
        )];
        Ok(Self {
            direct: vec![convolution(
                parameters,
                &direct,
                [384, 288, 3, 3],
                2,
                [0, 0],
            )?],
            branches: Branches::new(parameters, name, 288, &branches, 2)?,
        })
    }

    /// `[batch, 768, 17, 17]` → `[batch, 1280, 8, 8]`.
    pub(super) fn d(parameters: &Parameters, name: &str) -> Result<Self, MetricsError> {
        let branches: [(&[Step], End); 2] = [
            (
                &[("branch3x3_1", [1, 1], 192), ("branch3x3_2", [3, 3], 320)],
                End::Plain,
            ),
            (
                &[
                    ("branch7x7x3_1", [1, 1], 192),
                    ("branch7x7x3_2", [1, 7], 192),
                    ("branch7x7x3_3", [7, 1], 192),
                    ("branch7x7x3_4", [3, 3], 192),
                ],
                End::Plain,
            ),
        ];
        Ok(Self {
            direct: Vec::new(),
            branches: Branches::new(parameters, name, 768, &branches, 2)?,
        })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Tensor {
        let mut parts: Vec<Tensor> = (self.direct.iter())
            .map(|convolution| convolution.forward(input))
            .collect();
        parts.extend(self.branches.forward(input));
        parts.push(halved(input));
        Tensor::cat(&parts, 1)
    }
}
