//! DDPM++ and NCSN++ (Score-SDE, arXiv 2011.13456, as parametrised by EDM, arXiv 2206.00364, Appendix F).

use tch::{Kind, Tensor};

use crate::block::{BlockStyle, Modulations, UNetBlock};
use crate::builder::Builder;
use crate::conditioning::Conditioning;
use crate::config::{DecoderType, EmbeddingType, EncoderType, NetworkConfig};
use crate::dropout::Dropout;
use crate::embedding::{Halves, Mapping, NoiseEmbedding};
use crate::init::{Distribution, Initialization};
use crate::layers::{Conv2d, ConvOptions, GroupNorm, Linear};
use crate::levels::{DecoderAttention, Level, Levels, PlannedBlock};
use crate::resample::Direction;

const INIT: Initialization = Initialization::weights_only(Distribution::XavierUniform, 1.0);
const INIT_LAST: Initialization = Initialization::weights_only(Distribution::XavierUniform, 1e-5);
/// sqrt(0.2).
const INIT_QKV: Initialization =
    Initialization::weights_only(Distribution::XavierUniform, 0.447_213_595_499_957_9);
const EPSILON: f64 = 1e-6;

#[derive(Debug)]
enum EncoderStep {
    /// One convolution, or the four of an implicit perceptron.
    Input(Vec<Conv2d>),
    Block(Box<UNetBlock>),
    AuxiliaryDown(Conv2d),
    AuxiliarySkip(Conv2d),
    AuxiliaryResidual(Conv2d),
}

#[derive(Debug)]
enum DecoderStep {
    Block {
        block: Box<UNetBlock>,
        joins_skip: bool,
    },
    AuxiliaryUp(Conv2d),
    Output {
        norm: GroupNorm,
        conv: Conv2d,
    },
}

/// The U-Net of DDPM++ and NCSN++.
#[derive(Debug)]
pub(crate) struct SongUNet {
    map_noise: NoiseEmbedding,
    map_label: Option<Linear>,
    map_augment: Option<Linear>,
    mapping: Mapping,
    encoder: Vec<EncoderStep>,
    decoder: Vec<DecoderStep>,
    label_scale: f64,
}

impl SongUNet {
    /// Builds from a validated configuration.
    pub(crate) fn new(builder: &mut Builder, config: &NetworkConfig) -> Self {
        let embedding_channels = config.model_channels * 4;
        let noise_channels = config.model_channels * config.channel_mult_noise;
        let map_noise = match config.embedding_type {
            EmbeddingType::Positional => {
                NoiseEmbedding::positional(builder, noise_channels, true, Halves::SineCosine)
            }
            EmbeddingType::Fourier => {
                NoiseEmbedding::fourier(builder, noise_channels, Halves::SineCosine)
            }
        };
        let label = (config.label_dim > 0).then(|| {
            Linear::new(
                builder,
                "map_label",
                config.label_dim,
                noise_channels,
                true,
                &INIT,
            )
        });
        let augment = (config.augment_dim > 0).then(|| {
            Linear::new(
                builder,
                "map_augment",
                config.augment_dim,
                noise_channels,
                false,
                &INIT,
            )
        });
        let mapping = Mapping::new(builder, noise_channels, embedding_channels, &INIT);
        let style = BlockStyle {
            embedding_channels,
            dropout: config.dropout,
            skip_scale: 0.5f64.sqrt(),
            epsilon: EPSILON,
            adaptive: false,
            resample_projection: true,
            head_channels: None,
            taps: &config.resample_filter,
            init: INIT,
            init_last: INIT_LAST,
            init_qkv: INIT_QKV,
        };
        let levels = Levels::new(config, config.model_channels, DecoderAttention::Last);
        let encoder = build_encoder(builder, config, &style, &levels.encoder);
        let decoder = build_decoder(builder, config, &style, &levels.decoder);
        Self {
            map_noise,
            map_label: label,
            map_augment: augment,
            mapping,
            encoder,
            decoder,
            label_scale: (config.label_dim as f64).sqrt(),
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
        let mut modulations = Modulations::new(self.blocks(), &embedding, precision);
        let (hidden, skips) = self.encode(x, &mut modulations, precision, dropout);
        self.decode(hidden, skips, &mut modulations, dropout)
    }

    /// All of them, in the order in which they run.
    fn blocks(&self) -> impl Iterator<Item = &UNetBlock> {
        let encoder = self.encoder.iter().filter_map(|step| match step {
            EncoderStep::Block(block) => Some(&**block),
            _ => None,
        });
        let decoder = self.decoder.iter().filter_map(|step| match step {
            DecoderStep::Block { block, .. } => Some(&**block),
            _ => None,
        });
        encoder.chain(decoder)
    }

    fn embed(&self, conditioning: &Conditioning) -> Tensor {
        let mut embedding = self.map_noise.forward(&conditioning.noise);
        if let (Some(map), Some(labels)) = (&self.map_label, &conditioning.class) {
            embedding += map.forward(&(labels * self.label_scale));
        }
        if let (Some(map), Some(labels)) = (&self.map_augment, &conditioning.augment) {
            embedding += map.forward(labels);
        }
        self.mapping.forward(&embedding).silu()
    }

    fn encode(
        &self,
        input: &Tensor,
        modulations: &mut Modulations,
        precision: Kind,
        dropout: Option<&Dropout>,
    ) -> (Tensor, Vec<Tensor>) {
        let mut x = input.shallow_clone();
        let mut auxiliary = input.to_kind(precision);
        let mut skips: Vec<Tensor> = Vec::new();
        for step in &self.encoder {
            match step {
                EncoderStep::AuxiliaryDown(down) => {
                    auxiliary = down.forward(&auxiliary);
                    continue;
                }
                EncoderStep::AuxiliarySkip(conv) => {
                    x = conv.forward(&auxiliary) + &x;
                    skips.pop();
                }
                EncoderStep::AuxiliaryResidual(conv) => {
                    auxiliary = (x + conv.forward(&auxiliary)) * 0.5f64.sqrt();
                    x = auxiliary.shallow_clone();
                    skips.pop();
                }
                EncoderStep::Input(convolutions) => {
                    for (position, conv) in convolutions.iter().enumerate() {
                        x = conv
                            .forward(&if position == 0 { x } else { x.silu() })
                            .to_kind(precision);
                    }
                }
                EncoderStep::Block(block) => x = block.forward(&x, modulations, dropout),
            }
            skips.push(x.shallow_clone());
        }
        (x, skips)
    }

    fn decode(
        &self,
        mut x: Tensor,
        mut skips: Vec<Tensor>,
        modulations: &mut Modulations,
        dropout: Option<&Dropout>,
    ) -> Tensor {
        let mut output: Option<Tensor> = None;
        for step in &self.decoder {
            match step {
                DecoderStep::Block { block, joins_skip } => {
                    if *joins_skip {
                        let skip = skips
                            .pop()
                            .expect("the decoder joins as many skips as the encoder leaves");
                        x = Tensor::cat(&[x, skip], 1);
                    }
                    x = block.forward(&x, modulations, dropout);
                }
                DecoderStep::AuxiliaryUp(up) => output = output.map(|sum| up.forward(&sum)),
                DecoderStep::Output { norm, conv } => {
                    let level = conv.forward(&norm.forward_silu(&x));
                    output = Some(match output {
                        Some(sum) => sum + level,
                        None => level,
                    });
                }
            }
        }
        output.expect("the top level always has an output")
    }
}

fn build_encoder(
    builder: &mut Builder,
    config: &NetworkConfig,
    style: &BlockStyle,
    levels: &[Level],
) -> Vec<EncoderStep> {
    let mut steps = Vec::new();
    let mut auxiliary_channels = config.in_channels;
    for (depth, level) in levels.iter().enumerate() {
        if depth == 0 {
            let name = format!("{}_conv", level.prefix);
            steps.push(EncoderStep::Input(build_input(builder, &name, config)));
        }
        let block = |builder: &mut Builder, planned: &PlannedBlock| {
            let block = UNetBlock::new(builder, &planned.name, &planned.shape, style);
            EncoderStep::Block(Box::new(block))
        };
        for planned in &level.entrance {
            steps.push(block(builder, planned));
            build_auxiliary(
                builder,
                config,
                style,
                level,
                &mut auxiliary_channels,
                &mut steps,
            );
        }
        for planned in &level.blocks {
            steps.push(block(builder, planned));
        }
    }
    steps
}

/// What an encoder sees of the input below the top level.
fn build_auxiliary(
    builder: &mut Builder,
    config: &NetworkConfig,
    style: &BlockStyle,
    level: &Level,
    auxiliary_channels: &mut i64,
    steps: &mut Vec<EncoderStep>,
) {
    let (inputs, outputs) = (*auxiliary_channels, level.entrance_channels);
    let name = |part: &str| format!("{}_aux_{part}", level.prefix);
    let down = ConvOptions {
        direction: Some(Direction::Down),
        taps: style.taps,
        ..ConvOptions::plain(0)
    };
    match config.encoder_type {
        EncoderType::Standard => {}
        EncoderType::Skip => {
            let conv = Conv2d::new(builder, &name("down"), inputs, inputs, &down, &INIT);
            steps.push(EncoderStep::AuxiliaryDown(conv));
            let plain = ConvOptions::plain(1);
            let conv = Conv2d::new(builder, &name("skip"), inputs, outputs, &plain, &INIT);
            steps.push(EncoderStep::AuxiliarySkip(conv));
        }
        EncoderType::Residual => {
            let down = ConvOptions {
                kernel: 3,
                fused: true,
                ..down
            };
            let conv = Conv2d::new(builder, &name("residual"), inputs, outputs, &down, &INIT);
            steps.push(EncoderStep::AuxiliaryResidual(conv));
            *auxiliary_channels = outputs;
        }
    }
}

fn build_input(builder: &mut Builder, name: &str, config: &NetworkConfig) -> Vec<Conv2d> {
    let (inputs, outputs) = (config.in_channels, config.model_channels);
    if !config.implicit_mlp {
        let input = ConvOptions::input(3);
        return vec![Conv2d::new(builder, name, inputs, outputs, &input, &INIT)];
    }
    // Odd positions of the published sequence are activations.
    [
        (0, inputs, ConvOptions::input(1)),
        (2, outputs, ConvOptions::plain(1)),
        (4, outputs, ConvOptions::plain(1)),
        (6, outputs, ConvOptions::plain(3)),
    ]
    .into_iter()
    .map(|(position, inputs, options)| {
        let name = format!("{name}.{position}");
        Conv2d::new(builder, &name, inputs, outputs, &options, &INIT)
    })
    .collect()
}

fn build_decoder(
    builder: &mut Builder,
    config: &NetworkConfig,
    style: &BlockStyle,
    levels: &[Level],
) -> Vec<DecoderStep> {
    let mut steps = Vec::new();
    let mut has_output = false;
    for (depth, level) in levels.iter().enumerate() {
        for planned in level.entrance.iter().chain(&level.blocks) {
            let block = UNetBlock::new(builder, &planned.name, &planned.shape, style);
            steps.push(DecoderStep::Block {
                block: Box::new(block),
                joins_skip: planned.joins_skip,
            });
        }
        let is_top = depth + 1 == levels.len();
        if config.decoder_type == DecoderType::Standard && !is_top {
            continue;
        }
        let outputs = config.out_channels;
        if has_output {
            let up = ConvOptions {
                direction: Some(Direction::Up),
                taps: style.taps,
                ..ConvOptions::plain(0)
            };
            let name = format!("{}_aux_up", level.prefix);
            let conv = Conv2d::new(builder, &name, outputs, outputs, &up, &INIT);
            steps.push(DecoderStep::AuxiliaryUp(conv));
        }
        let name = format!("{}_aux_norm", level.prefix);
        let norm = GroupNorm::new(builder, &name, level.channels, EPSILON);
        let name = format!("{}_aux_conv", level.prefix);
        let plain = ConvOptions::plain(3);
        let conv = Conv2d::new(builder, &name, level.channels, outputs, &plain, &INIT_LAST);
        steps.push(DecoderStep::Output { norm, conv });
        has_output = true;
    }
    steps
}
