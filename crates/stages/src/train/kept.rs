//! What a train stage keeps of power-function averages: one network a width, and a record of when it was taken.
//!
//! Any other width is made of them afterwards (EDM2, arXiv 2312.02696, section 3.2).

use serde::{Deserialize, Serialize};

/// The relative widths of the averages that are kept; a network's own file holds the first.
pub(super) const WIDTHS: [f64; 2] = [0.10, 0.05];

/// What the names of the records end with.
pub(crate) const RECORD_SUFFIX: &str = ".averages.json";

const NETWORK_SUFFIX: &str = ".safetensors";

/// The averages of one moment of training.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptAverages {
    /// Images seen at that moment.
    pub(crate) images_seen: u64,
    /// One for each width.
    pub(crate) averages: Vec<KeptAverage>,
}

/// One average.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptAverage {
    /// The network's file, in the same folder.
    pub(crate) file: String,
    /// Its width relative to the length of training.
    pub(crate) relative_width: f64,
}

/// The record beside a network's file: `network.averages.json` beside `network.safetensors`.
pub(crate) fn record_file(network_file: &str) -> String {
    format!("{}{RECORD_SUFFIX}", stem(network_file))
}

/// The file of another width beside a network's: `network-ema-0.05.safetensors`.
pub(super) fn narrower_file(network_file: &str, width: f64) -> String {
    format!("{}-ema-{width:.2}{NETWORK_SUFFIX}", stem(network_file))
}

pub(super) fn stem(network_file: &str) -> &str {
    network_file
        .strip_suffix(NETWORK_SUFFIX)
        .unwrap_or(network_file)
}
