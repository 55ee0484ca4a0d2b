//! One image as a PNG file.

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use crate::error::DatasetError;
use crate::shards::{Channels, color_type};

/// A PNG file of `[height, width, channels]` u8.
pub(super) fn png(
    pixels: &[u8],
    width: usize,
    height: usize,
    channels: Channels,
) -> Result<Vec<u8>, DatasetError> {
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, width as u32, height as u32, color_type(channels))
        .map_err(DatasetError::Encode)?;
    Ok(file)
}
