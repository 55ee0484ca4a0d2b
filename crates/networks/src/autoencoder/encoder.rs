//! From pixels to the moments of latents.

use tch::Tensor;

use crate::builder::Builder;

use super::blocks::{Conv, Downsample, Middle, NormSilu, Residual};
use super::config::AutoencoderConfig;

#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: Conv,
    levels: Vec<Level>,
    middle: Middle,
    norm_out: NormSilu,
    conv_out: Conv,
}

#[derive(Debug)]
struct Level {
    blocks: Vec<Residual>,
    downsample: Option<Downsample>,
}

impl Encoder {
    pub(super) fn new(builder: &mut Builder, config: &AutoencoderConfig) -> Self {
        let channels = &config.block_out_channels;
        let last = channels[channels.len() - 1];
        let conv_in = Conv::new(
            builder,
            "encoder.conv_in",
            config.in_channels,
            channels[0],
            3,
        );
        let mut inputs = channels[0];
        let mut levels = Vec::with_capacity(channels.len());
        for (level, outputs) in channels.iter().copied().enumerate() {
            let name = format!("encoder.down_blocks.{level}");
            let mut blocks = Vec::new();
            for block in 0..config.layers_per_block {
                let name = format!("{name}.resnets.{block}");
                blocks.push(Residual::new(builder, &name, inputs, outputs, config));
                inputs = outputs;
            }
            let downsample = (level + 1 < channels.len())
                .then(|| Downsample::new(builder, &format!("{name}.downsamplers.0.conv"), outputs));
            levels.push(Level { blocks, downsample });
        }
        Self {
            conv_in,
            levels,
            middle: Middle::new(builder, "encoder", config),
            norm_out: NormSilu::new(builder, "encoder.conv_norm_out", last, config),
            conv_out: Conv::new(
                builder,
                "encoder.conv_out",
                last,
                2 * config.latent_channels,
                3,
            ),
        }
    }

    /// `[n, in_channels, h, w]` → `[n, 2 × latent_channels, h / factor, w / factor]`.
    pub(super) fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = self.conv_in.forward(images);
        for level in &self.levels {
            for block in &level.blocks {
                x = block.forward(&x);
            }
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(&x);
            }
        }
        let x = self.middle.forward(&x);
        self.conv_out.forward(&self.norm_out.forward(&x))
    }
}
