//! The residual block that both U-Nets are made of.

use tch::{Kind, Tensor};

use crate::attention::{Attention, AttentionInit};
use crate::builder::Builder;
use crate::dropout::{self, Dropout};
use crate::init::Initialization;
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear, is_one};
use crate::resample::Direction;

/// The element types that features have; float64 in checks of gradients.
const FEATURE_KINDS: [Kind; 4] = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Double];

/// What all blocks of a network share.
#[derive(Debug)]
pub(crate) struct BlockStyle<'a> {
    pub(crate) embedding_channels: i64,
    pub(crate) dropout: f64,
    /// Factor on each residual sum.
    pub(crate) skip_scale: f64,
    pub(crate) epsilon: f64,
    /// The embedding scales and shifts the normalised features, instead of being added before.
    pub(crate) adaptive: bool,
    /// Resampling blocks have a 1×1 convolution in their skip path.
    pub(crate) resample_projection: bool,
    /// Channels of one attention head; none = a single head.
    pub(crate) head_channels: Option<i64>,
    pub(crate) taps: &'a [i64],
    pub(crate) init: Initialization,
    /// For the last convolution of each residual path.
    pub(crate) init_last: Initialization,
    pub(crate) init_qkv: Initialization,
}

/// One block's shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShape {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) direction: Option<Direction>,
    pub(crate) attention: bool,
}

/// What the embedding says to each block that is still to run.
pub(crate) struct Modulations(std::vec::IntoIter<Tensor>);

impl Modulations {
    /// From `embedding` `[n, embedding channels]` for `blocks` in the order in which they run, in the features' `precision`.
    pub(crate) fn new<'a>(
        blocks: impl Iterator<Item = &'a UNetBlock>,
        embedding: &Tensor,
        precision: Kind,
    ) -> Self {
        let layers: Vec<&Linear> = blocks.map(|block| &block.affine).collect();
        let widths: Vec<i64> = layers.iter().map(|layer| layer.outputs()).collect();
        let all = Linear::forward_joined(&layers, embedding)
            .to_kind(precision)
            .unsqueeze(-1)
            .unsqueeze(-1)
            .split_with_sizes(widths, 1);
        Self(all.into_iter())
    }

    /// `[n, outputs, 1, 1]` to add, or twice as many channels to scale and shift by.
    fn next(&mut self) -> Tensor {
        self.0.next().expect("there is one for each block")
    }
}

/// A residual block with optional resampling and attention.
#[derive(Debug)]
pub(crate) struct UNetBlock {
    norm0: GroupNorm,
    conv0: Conv2d,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv2d,
    skip: Option<Conv2d>,
    attention: Option<Attention>,
    drop_probability: f64,
    skip_scale: f64,
    /// `skip_scale` as a scalar on the device, in each of [`FEATURE_KINDS`]: brought there in each step, it would have the host
    /// wait for the device, and a cast at each use is one operation more.
    skip_factors: [Tensor; 4],
    adaptive: bool,
}

impl UNetBlock {
    pub(crate) fn new(
        builder: &mut Builder,
        name: &str,
        shape: &BlockShape,
        style: &BlockStyle,
    ) -> Self {
        let BlockShape {
            inputs,
            outputs,
            direction,
            attention,
        } = *shape;
        let part = |part: &str| format!("{name}.{part}");
        let resampling = |kernel| ConvOptions {
            direction,
            taps: style.taps,
            ..ConvOptions::plain(kernel)
        };
        let norm0 = GroupNorm::new(builder, &part("norm0"), inputs, style.epsilon);
        let conv0 = Conv2d::new(
            builder,
            &part("conv0"),
            inputs,
            outputs,
            &resampling(3),
            &style.init,
        );
        let affine_outputs = if style.adaptive { outputs * 2 } else { outputs };
        let affine = Linear::new(
            builder,
            &part("affine"),
            style.embedding_channels,
            affine_outputs,
            true,
            &style.init,
        );
        let norm1 = GroupNorm::new(builder, &part("norm1"), outputs, style.epsilon);
        let conv1 = Conv2d::new(
            builder,
            &part("conv1"),
            outputs,
            outputs,
            &ConvOptions::plain(3),
            &style.init_last,
        );
        let projects = inputs != outputs || (direction.is_some() && style.resample_projection);
        let skip = (projects || direction.is_some()).then(|| {
            let kernel = i64::from(projects);
            Conv2d::new(
                builder,
                &part("skip"),
                inputs,
                outputs,
                &resampling(kernel),
                &style.init,
            )
        });
        let attention = attention.then(|| {
            let heads = style.head_channels.map_or(1, |channels| outputs / channels);
            let init = AttentionInit {
                qkv: style.init_qkv,
                projection: style.init_last,
            };
            Attention::new(builder, name, outputs, heads, style.epsilon, &init)
        });
        Self {
            norm0,
            conv0,
            affine,
            norm1,
            conv1,
            skip,
            attention,
            drop_probability: style.dropout,
            skip_scale: style.skip_scale,
            skip_factors: FEATURE_KINDS.map(|kind| {
                let factor = Tensor::from(style.skip_scale).to_device(builder.device());
                factor.to_kind(kind)
            }),
            adaptive: style.adaptive,
        }
    }

    /// `x` `[n, inputs, h, w]` → `[n, outputs, h', w']`, with the next of `modulations`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        modulations: &mut Modulations,
        dropout: Option<&Dropout>,
    ) -> Tensor {
        let mut hidden = self.conv0.forward(&self.norm0.forward_silu(x));
        let modulation = modulations.next();
        let hidden = if self.adaptive {
            let halves = modulation.chunk(2, 1);
            halves[1]
                .addcmul(&self.norm1.forward(&hidden), &(&halves[0] + 1.0))
                .silu()
        } else {
            self.norm1.forward_silu(&hidden.g_add_(&modulation))
        };
        let (hidden, boost) = self.drop(hidden, dropout);
        let mut residual = self.conv1.forward_scaled(&hidden, self.skip_scale, boost);
        let hidden = match &self.skip {
            Some(skip) => residual.g_add_(&skip.forward_scaled(x, self.skip_scale, 1.0)),
            None => self.add_scaled(residual, x),
        };
        match &self.attention {
            Some(attention) => {
                self.add_scaled(attention.forward(&hidden, self.skip_scale), &hidden)
            }
            None => hidden,
        }
    }

    /// Dropout of what `silu` returned, and the factor that the next layer owes it.
    fn drop(&self, hidden: Tensor, dropout: Option<&Dropout>) -> (Tensor, f64) {
        let probability = self.drop_probability;
        match dropout {
            Some(dropout) if probability > 0.0 && dropout::is_worthwhile(hidden.device()) => (
                dropout.drop_unscaled(hidden, probability),
                1.0 / (1.0 - probability),
            ),
            Some(_) if probability > 0.0 => (hidden.dropout(probability, true), 1.0),
            _ => (hidden, 1.0),
        }
    }

    /// `residual + skip_scale * x` in the memory of `residual`, which no backward formula reads.
    fn add_scaled(&self, mut residual: Tensor, x: &Tensor) -> Tensor {
        if is_one(self.skip_scale) {
            return residual.g_add_(x);
        }
        let place = FEATURE_KINDS.iter().position(|kind| *kind == x.kind());
        residual.addcmul_(
            x,
            &self.skip_factors[place.expect("features are floating-point numbers")],
        )
    }
}
