//! The networks that are measured, by name.

use patchwork_networks::NetworkConfig;
use serde_json::json;

/// The names that [`network`] knows: the demonstration's at 32×32, a DDPM++ of 64 channels at 64×64 (10.9 million parameters),
/// and the paper's of 128 channels for CelebA (61.8 million).
pub(crate) const NAMES: [&str; 3] = ["demo", "reference", "celeba"];

/// The settings of a network.
pub(crate) fn network(name: &str) -> NetworkConfig {
    // Channels, multipliers, blocks, resolution of attention, dropout.
    let (resolution, network): (_, (i64, &[i64], _, _, _)) = match name {
        "demo" => (32, (32, &[1, 2, 2], 2, 8, 0.0)),
        "reference" => (64, (64, &[1, 2, 2], 4, 16, 0.05)),
        "celeba" => (64, (128, &[1, 2, 2, 2], 4, 16, 0.05)),
        _ => panic!("network `{name}` is none of {NAMES:?}"),
    };
    let (channels, multipliers, blocks, attention, dropout) = network;
    serde_json::from_value(json!({
        "arch": "ddpmpp", "img_resolution": resolution, "img_channels": 3, "in_channels": 5,
        "out_channels": 3, "position_channels": true, "label_dim": 0, "augment_dim": 0,
        "model_channels": channels, "channel_mult": multipliers, "num_blocks": blocks,
        "attn_resolutions": [attention], "dropout": dropout, "sigma_data": 0.5
    }))
    .unwrap()
}
