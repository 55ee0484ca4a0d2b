//! Limits that a plan keeps before work begins, and a writer whatever came to it.

/// The most bytes of pixels in a shard, which bounds the memory that writing one takes.
pub const LARGEST_SHARD_BYTES: u64 = 192 << 20;

/// How many images of so many bytes of pixels a shard can hold; none where a single one has more.
pub fn most_images_per_shard(image_bytes: u64) -> u64 {
    LARGEST_SHARD_BYTES / u64::max(1, image_bytes)
}
