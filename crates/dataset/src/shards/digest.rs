//! The digest of an image's pixels, as shards and the index record it.

use patchwork_core::Digest;

/// Bytes of an image's digest.
pub(super) const DIGEST_BYTES: usize = 16;

/// BLAKE3 of the pixels, truncated.
pub(super) fn image_digest(pixels: &[u8]) -> [u8; DIGEST_BYTES] {
    *Digest::of(pixels)
        .as_bytes()
        .first_chunk()
        .expect("a digest has 32 bytes")
}
