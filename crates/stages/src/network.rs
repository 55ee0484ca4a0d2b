//! From a pipeline's settings to a network's.

use patchwork_networks::{
    Architecture, BLIT_LABELS, DecoderType, EmbeddingType, EncoderType, NetworkConfig,
};
use patchwork_recipes::TrainSettings;

use crate::data::TrainingData;
use crate::train::augment_options;

/// The network that a train stage asks for, for images of this data set.
pub(crate) fn network_config(settings: &TrainSettings, data: &TrainingData) -> NetworkConfig {
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
    let image_channels = data.channels() as i64;
    let size = data.size();
    let (height, width) = (size.height as i64, size.width as i64);
    NetworkConfig {
        arch: network.arch,
        img_resolution: i64::min(height, width),
        img_size: (height != width).then_some([height, width]),
        img_channels: image_channels,
        in_channels: image_channels + if settings.position_channels { 2 } else { 0 },
        out_channels: image_channels,
        position_channels: settings.position_channels,
        label_dim: if settings.class_conditional {
            data.class_names().len() as i64
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
        latents: data.latent_config(),
    }
}
