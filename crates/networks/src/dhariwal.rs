//! ADM (arXiv 2105.05233, as parametrised by EDM, arXiv 2206.00364, Appendix F).

use tch::{Kind, Tensor};

use crate::block::{BlockStyle, Modulations, UNetBlock};
use crate::builder::Builder;
use crate::conditioning::Conditioning;
use crate::config::{ADM_HEAD_CHANNELS, NetworkConfig};
use crate::dropout::Dropout;
use crate::embedding::{Halves, Mapping, NoiseEmbedding};
use crate::init::{Distribution, Initialization};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear};
use crate::levels::{DecoderAttention, Level, Levels};

/// sqrt(1/3).
const THIRD_ROOT: f64 = 0.577_350_269_189_625_8;
const INIT: Initialization = Initialization {
    distribution: Distribution::KaimingUniform,
    weight: THIRD_ROOT,
    bias: THIRD_ROOT,
};
const INIT_LAST: Initialization = Initialization::weights_only(Distribution::KaimingUniform, 0.0);
const EPSILON: f64 = 1e-5;

/// The U-Net of ADM.
#[derive(Debug)]
pub(crate) struct DhariwalUNet {
    map_noise: NoiseEmbedding,
    map_augment: Option<Linear>,
    mapping: Mapping,
    map_label: Option<Linear>,
    input: Conv2d,
    encoder: Vec<UNetBlock>,
    /// Each block and whether it joins a skip.
    decoder: Vec<(UNetBlock, bool)>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
}

impl DhariwalUNet {
    /// Builds from a validated configuration.
    pub(crate) fn new(builder: &mut Builder, config: &NetworkConfig) -> Self {
        let noise_channels = config.model_channels;
        let embedding_channels = config.model_channels * 4;
        let map_noise =
            NoiseEmbedding::positional(builder, noise_channels, false, Halves::CosineSine);
        let map_augment = (config.augment_dim > 0).then(|| {
            Linear::new(
                builder,
                "map_augment",
                config.augment_dim,
                noise_channels,
                false,
                &INIT_LAST,
            )
        });
        let mapping = Mapping::new(builder, noise_channels, embedding_channels, &INIT);
        let label_scale = (config.label_dim as f64).sqrt();
        let label_init = Initialization::weights_only(Distribution::KaimingNormal, label_scale);
        let map_label = (config.label_dim > 0).then(|| {
            Linear::new(
                builder,
                "map_label",
                config.label_dim,
                embedding_channels,
                false,
                &label_init,
            )
        });
        let style = BlockStyle {
            embedding_channels,
            dropout: config.dropout,
            skip_scale: 1.0,
            epsilon: EPSILON,
            adaptive: true,
            resample_projection: false,
            head_channels: Some(ADM_HEAD_CHANNELS),
            taps: &config.resample_filter,
            init: INIT,
            init_last: INIT_LAST,
            init_qkv: INIT,
        };

        let first_channels = config.level_channels(0);
        let levels = Levels::new(config, first_channels, DecoderAttention::Every);
        let name = format!("enc.{0}x{0}_conv", config.img_resolution);
        let options = ConvOptions::input(3);
        let inputs = config.in_channels;
        let input = Conv2d::new(builder, &name, inputs, first_channels, &options, &INIT);
        let mut build = |levels: &[Level]| -> Vec<(UNetBlock, bool)> {
            levels
                .iter()
                .flat_map(|level| level.entrance.iter().chain(&level.blocks))
                .map(|planned| {
                    let block = UNetBlock::new(builder, &planned.name, &planned.shape, &style);
                    (block, planned.joins_skip)
                })
                .collect()
        };
        let encoder = build(&levels.encoder)
            .into_iter()
            .map(|(block, _)| block)
            .collect();
        let decoder = build(&levels.decoder);
        // The decoder ends at the top level.
        let channels = first_channels;
        let out_norm = GroupNorm::new(builder, "out_norm", channels, EPSILON);
        let out_conv = Conv2d::new(
            builder,
            "out_conv",
            channels,
            config.out_channels,
            &ConvOptions::plain(3),
            &INIT_LAST,
        );
        Self {
            map_noise,
            map_augment,
            mapping,
            map_label,
            input,
            encoder,
            decoder,
            out_norm,
            out_conv,
        }
    }

    /// `x` `[n, in, h, w]` → `[n, out, h, w]`, with features and output in `precision`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        conditioning: &Conditioning,
        precision: Kind,
        dropout: Option<&Dropout>,
    ) -> Tensor {
        let embedding = self.embed(conditioning);
        let blocks = self
            .encoder
            .iter()
            .chain(self.decoder.iter().map(|(block, _)| block));
        let mut modulations = Modulations::new(blocks, &embedding, precision);
        let mut x = self.input.forward(x).to_kind(precision);
        let mut skips = vec![x.shallow_clone()];
        for block in &self.encoder {
            x = block.forward(&x, &mut modulations, dropout);
            skips.push(x.shallow_clone());
        }
        for (block, joins_skip) in &self.decoder {
            if *joins_skip {
                let skip = skips
                    .pop()
                    .expect("the decoder joins as many skips as the encoder leaves");
                x = Tensor::cat(&[x, skip], 1);
            }
            x = block.forward(&x, &mut modulations, dropout);
        }
        self.out_conv.forward(&self.out_norm.forward_silu(&x))
    }

    fn embed(&self, conditioning: &Conditioning) -> Tensor {
        let mut embedding = self.map_noise.forward(&conditioning.noise);
        if let (Some(map), Some(labels)) = (&self.map_augment, &conditioning.augment) {
            embedding += map.forward(labels);
        }
        let mut embedding = self.mapping.forward(&embedding);
        if let (Some(map), Some(labels)) = (&self.map_label, &conditioning.class) {
            embedding += map.forward(labels);
        }
        embedding.silu()
    }
}
