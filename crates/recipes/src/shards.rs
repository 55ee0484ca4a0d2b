//! How many images a shard holds.

use patchwork_config::{ConfigError, Section};
use patchwork_core::limits::{LARGEST_SHARD_BYTES, most_images_per_shard};

pub(crate) const KEY: &str = "images_per_shard";

/// `images_per_shard`, typed or the default, for images of this width and height; the default gives way to large ones.
///
/// # Errors
/// For more than a shard can hold, where they were typed.
pub(crate) fn fitting(
    section: &Section<'_>,
    images_per_shard: u32,
    (width, height): (u32, u32),
    channels: usize,
) -> Result<u32, ConfigError> {
    let image_bytes = u64::from(width) * u64::from(height) * channels as u64;
    let most = u64::max(1, most_images_per_shard(image_bytes));
    if u64::from(images_per_shard) <= most {
        return Ok(images_per_shard);
    }
    if section.has(KEY) {
        let problem = format!(
            "is {images_per_shard}, but a shard holds at most {} MiB, which are {most} images of {width} x {height} pixels",
            LARGEST_SHARD_BYTES >> 20
        );
        return Err(section.invalid(KEY, problem));
    }
    Ok(most as u32)
}
