//! Limits that a plan keeps before work begins, and a writer whatever came to it.

/// The most bytes of pixels in a shard, which bounds the memory that writing one takes.
pub const LARGEST_SHARD_BYTES: u64 = 192 << 20;
