//! From latents to pixels.

use tch::Tensor;

use crate::builder::Builder;

use super::blocks::{Conv, Middle, NormSilu, Residual, double};
use super::config::AutoencoderConfig;

#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: Conv,
    middle: Middle,
    levels: Vec<Level>,
    norm_out: NormSilu,
    conv_out: Conv,
}

#[derive(Debug)]
struct Level {
    blocks: Vec<Residual>,
    /// The convolution after doubling the size.
    upsample: Option<Conv>,
}

impl Decoder {
    pub(super) fn new(builder: &mut Builder, config: &AutoencoderConfig) -> Self {
        let channels = &config.block_out_channels;
        let lowest = channels[channels.len() - 1];
        let conv_in = Conv::new(
            builder,
            "decoder.conv_in",
            config.latent_channels,
            lowest,
            3,
        );
        // The middle is registered after the levels in diffusers: a seed gives the same order of draws.
        let mut inputs = lowest;
        let mut levels = Vec::with_capacity(channels.len());
        for (level, outputs) in channels.iter().rev().copied().enumerate() {
            let name = format!("decoder.up_blocks.{level}");
            let mut blocks = Vec::new();
            for block in 0..=config.layers_per_block {
                let name = format!("{name}.resnets.{block}");
                blocks.push(Residual::new(builder, &name, inputs, outputs, config));
                inputs = outputs;
            }
            let upsample = (level + 1 < channels.len()).then(|| {
                let name = format!("{name}.upsamplers.0.conv");
                Conv::new(builder, &name, outputs, outputs, 3)
            });
            levels.push(Level { blocks, upsample });
        }
        Self {
            conv_in,
            levels,
            middle: Middle::new(builder, "decoder", config),
            norm_out: NormSilu::new(builder, "decoder.conv_norm_out", channels[0], config),
            conv_out: Conv::new(
                builder,
                "decoder.conv_out",
                channels[0],
                config.out_channels,
                3,
            ),
        }
    }

    /// `[n, latent_channels, h, w]` → `[n, out_channels, h × factor, w × factor]`.
    pub(super) fn forward(&self, latents: &Tensor) -> Tensor {
        let mut x = self.middle.forward(&self.conv_in.forward(latents));
        for level in &self.levels {
            for block in &level.blocks {
                x = block.forward(&x);
            }
            if let Some(upsample) = &level.upsample {
                x = upsample.forward(&double(&x));
            }
        }
        self.conv_out.forward(&self.norm_out.forward(&x))
    }
}
