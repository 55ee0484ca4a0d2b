//! From a pipeline's settings to a network's.

use patchwork_networks::{
    Architecture, BLIT_LABELS, DecoderType, EmbeddingType, EncoderType, NetworkConfig,
};
use patchwork_recipes::TrainSettings;
use serde::Deserialize;

use crate::data::TrainingData;
use crate::train::augment_options;

/// What the sizes of a network depend on of its data set.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageShape {
    /// In pixels.
    pub(crate) height: i64,
    /// In pixels.
    pub(crate) width: i64,
    /// Values of a pixel.
    pub(crate) channels: i64,
    /// Classes of the data set; 0 without labels.
    pub(crate) classes: i64,
}

impl ImageShape {
    fn of(data: &TrainingData) -> Self {
        let size = data.size();
        Self {
            height: size.height as i64,
            width: size.width as i64,
            channels: data.channels() as i64,
            classes: data.class_names().len() as i64,
        }
    }
}

/// The network that a train stage asks for, for images of this data set.
pub(crate) fn network_config(settings: &TrainSettings, data: &TrainingData) -> NetworkConfig {
    NetworkConfig {
        latents: data.latent_config(),
        ..config_of_shape(settings, ImageShape::of(data))
    }
}

/// The network that a train stage asks for, for images of this shape.
pub(crate) fn config_of_shape(settings: &TrainSettings, images: ImageShape) -> NetworkConfig {
    let network = &settings.network;
    let (noise, embedding, encoder, filter) = match network.arch {
        Architecture::Ddpmpp | Architecture::Adm => (
            1,
            EmbeddingType::Positional,
            EncoderType::Standard,
            vec![1, 1],
        ),
        Architecture::Ncsnpp => (
            2,
            EmbeddingType::Fourier,
            EncoderType::Residual,
            vec![1, 3, 3, 1],
        ),
    };
    let augmentation = augment_options(settings);
    let ImageShape {
        height,
        width,
        channels,
        classes,
    } = images;
    NetworkConfig {
        arch: network.arch,
        img_resolution: i64::min(height, width),
        img_size: (height != width).then_some([height, width]),
        img_channels: channels,
        in_channels: channels + if settings.position_channels { 2 } else { 0 },
        out_channels: channels,
        position_channels: settings.position_channels,
        label_dim: if settings.class_conditional {
            classes
        } else {
            0
        },
        augment_dim: augmentation.map_or(0, |options| options.label_dim()),
        model_channels: network.model_channels.into(),
        channel_mult: network
            .channel_mult
            .iter()
            .map(|&factor| factor.into())
            .collect(),
        channel_mult_noise: noise,
        embedding_type: embedding,
        encoder_type: encoder,
        decoder_type: DecoderType::Standard,
        resample_filter: filter,
        num_blocks: network.num_blocks.into(),
        attn_resolutions: network
            .attn_resolutions
            .iter()
            .map(|&side| side.into())
            .collect(),
        dropout: network.dropout,
        implicit_mlp: network.implicit_mlp,
        sigma_data: settings.sigma_data,
        preconditioning: settings.preconditioning,
        blit_labels: augmentation
            .is_some_and(|options| options.has_blit_labels())
            .then_some(BLIT_LABELS),
        latents: None,
    }
}
