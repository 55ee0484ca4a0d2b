//! One image as a PNG file.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::error::DatasetError;

/// A PNG file of `[height, width, 3]` u8.
pub(super) fn png(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, DatasetError> {
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(DatasetError::Encode)?;
    Ok(file)
}
