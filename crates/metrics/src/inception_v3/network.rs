//! Inception-v3 from the normalised image to its features.

use tch::{Kind, Tensor};

use super::blocks::{Block, Reduction, convolution, halved};
use crate::MetricsError;
use crate::folded_convolution::{FoldedConvolution, fast_order};
use crate::parameters::Parameters;

/// Side of the input in pixels.
pub(super) const SIDE: i64 = 299;
/// Width of the pooled features.
pub(super) const FEATURES: i64 = 2048;
/// Channels of the inner map that the spatial features are.
const SPATIAL_CHANNELS: i64 = 7;
/// The parameter of the classifier's weight.
const CLASSIFIER: &str = "fc.weight";
/// Width of the spatial features: 7 channels of 17 × 17 pixels.
pub(super) const SPATIAL_FEATURES: i64 = SPATIAL_CHANNELS * 17 * 17;

/// Classes of the graph of 2015-12-05.
const CLASSES: i64 = 1008;

/// The network; its features do not depend on its classifier.
pub(super) struct Network {
    stem: [FoldedConvolution; 3],
    widening: [FoldedConvolution; 2],
    blocks_35: [Block; 3],
    to_17: Reduction,
    blocks_17: [Block; 4],
    to_8: Reduction,
    blocks_8: [Block; 2],
    /// `[1008, 2048]`, where the weights have it.
    classifier: Option<Tensor>,
}

/// A copy that shares the weights.
impl Clone for Network {
    fn clone(&self) -> Self {
        Self {
            stem: self.stem.clone(),
            widening: self.widening.clone(),
            blocks_35: self.blocks_35.clone(),
            to_17: self.to_17.clone(),
            blocks_17: self.blocks_17.clone(),
            to_8: self.to_8.clone(),
            blocks_8: self.blocks_8.clone(),
            classifier: self.classifier.as_ref().map(Tensor::shallow_clone),
        }
    }
}

/// Two kinds of features of a batch.
pub(super) struct Features {
    /// `[batch, 2048]`.
    pub(super) pooled: Tensor,
    /// `[batch, 2023]`: the first 7 channels of `Mixed_6d.branch1x1` (`mixed_6/conv` in TensorFlow's graph).
    pub(super) spatial: Tensor,
}

impl Network {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, MetricsError> {
        let plain = |name: &str, shape: [i64; 4], stride: i64, padding: i64| {
            convolution(parameters, name, shape, stride, [padding; 2])
        };
        Ok(Self {
            stem: [
                plain("Conv2d_1a_3x3", [32, 3, 3, 3], 2, 0)?,
                plain("Conv2d_2a_3x3", [32, 32, 3, 3], 1, 0)?,
                plain("Conv2d_2b_3x3", [64, 32, 3, 3], 1, 1)?,
            ],
            widening: [
                plain("Conv2d_3b_1x1", [80, 64, 1, 1], 1, 0)?,
                plain("Conv2d_4a_3x3", [192, 80, 3, 3], 1, 0)?,
            ],
            blocks_35: [
                Block::a(parameters, "Mixed_5b", 192, 32)?,
                Block::a(parameters, "Mixed_5c", 256, 64)?,
                Block::a(parameters, "Mixed_5d", 288, 64)?,
            ],
            to_17: Reduction::b(parameters, "Mixed_6a")?,
            blocks_17: [
                Block::c(parameters, "Mixed_6b", 128)?,
                Block::c(parameters, "Mixed_6c", 160)?,
                Block::c(parameters, "Mixed_6d", 160)?,
                Block::c(parameters, "Mixed_6e", 192)?,
            ],
            to_8: Reduction::d(parameters, "Mixed_7a")?,
            blocks_8: [
                Block::e(parameters, "Mixed_7b", 1280, false)?,
                Block::e(parameters, "Mixed_7c", 2048, true)?,
            ],
            classifier: if parameters.has(CLASSIFIER) {
                Some(parameters.get(CLASSIFIER, &[CLASSES, FEATURES])?)
            } else {
                None
            },
        })
    }

    /// # Shapes
    /// - `pooled`: `[n, 2048]`
    /// - returns: `[n, 1008]`, without the bias
    pub(super) fn class_logits(&self, pooled: &Tensor) -> Option<Tensor> {
        (self.classifier.as_ref())
            .map(|weight| pooled.to_device(weight.device()).matmul(&weight.tr()))
    }

    /// # Shapes
    /// - `input`: `[batch, 3, 299, 299]`, f32, about [−1, 1]
    pub(super) fn forward(&self, input: &Tensor) -> Features {
        let through = |layers: &[FoldedConvolution], input: Tensor| {
            layers
                .iter()
                .fold(input, |hidden, layer| layer.forward(&hidden))
        };
        let hidden = through(&self.stem, fast_order(input)); // [batch, 64, 147, 147]
        let hidden = through(&self.widening, halved(&hidden)); // [batch, 192, 71, 71]
        let mut hidden = halved(&hidden); // [batch, 192, 35, 35]
        for block in &self.blocks_35 {
            hidden = block.forward(&hidden);
        }
        hidden = self.to_17.forward(&hidden); // [batch, 768, 17, 17]
        let [first, second, third, fourth] = &self.blocks_17;
        hidden = second.forward(&first.forward(&hidden));
        let parts = third.parts(&hidden);
        let spatial = parts[0]
            .narrow(1, 0, SPATIAL_CHANNELS)
            .flatten(1, -1)
            .contiguous();
        hidden = fourth.forward(&Tensor::cat(&parts, 1));
        hidden = self.to_8.forward(&hidden); // [batch, 1280, 8, 8]
        for block in &self.blocks_8 {
            hidden = block.forward(&hidden);
        }
        Features {
            pooled: hidden.mean_dim([2i64, 3].as_slice(), false, Kind::Float),
            spatial,
        }
    }
}
