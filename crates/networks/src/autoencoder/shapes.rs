//! Settings out of the shapes of weights, where a file has no settings.

use std::collections::BTreeMap;
use std::path::Path;

use tch::Tensor;

use crate::error::NetworkError;

use super::config::AutoencoderConfig;

/// The settings of weights under today's names; what shapes leave open is Stable Diffusion's.
///
/// # Errors
/// [`NetworkError::NoAutoencoder`] where the tensors are not an autoencoder's.
pub(super) fn config(
    tensors: &BTreeMap<String, Tensor>,
    file: &Path,
) -> Result<AutoencoderConfig, NetworkError> {
    let refused = |problem: String| NetworkError::NoAutoencoder {
        path: file.display().to_string(),
        problem,
    };
    let dimension = |name: &str, dimension: usize| {
        let tensor = tensors.get(name)?;
        tensor.size().get(dimension).copied()
    };
    let required = |name: &str, index| {
        dimension(name, index).ok_or_else(|| {
            refused(format!(
                "the tensor `{name}` is missing under any known name"
            ))
        })
    };
    let block = |level: usize, block: usize| {
        format!("encoder.down_blocks.{level}.resnets.{block}.conv1.weight")
    };
    let block_out_channels: Vec<i64> = (0..)
        .map_while(|level| dimension(&block(level, 0), 0))
        .collect();
    let layers = (0..)
        .map_while(|index| dimension(&block(0, index), 0))
        .count();
    let config = AutoencoderConfig {
        in_channels: required("encoder.conv_in.weight", 1)?,
        out_channels: required("decoder.conv_out.weight", 0)?,
        latent_channels: required("encoder.conv_out.weight", 0)? / 2,
        block_out_channels,
        layers_per_block: layers as i64,
        use_quant_conv: tensors.contains_key("quant_conv.weight"),
        use_post_quant_conv: tensors.contains_key("post_quant_conv.weight"),
        mid_block_add_attention: tensors.contains_key("encoder.mid_block.attentions.0.to_q.weight"),
        ..AutoencoderConfig::default()
    };
    config.validate().map_err(|cause| {
        refused(format!(
            "its shapes fit no settings ({cause}); name a `config.json`"
        ))
    })?;
    Ok(config)
}
