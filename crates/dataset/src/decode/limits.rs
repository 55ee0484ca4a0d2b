//! How large an image may be.

/// The most pixels that an image may have: 64 mebipixels, so that a header cannot claim all memory.
pub const MAX_PIXELS: u64 = 1 << 26;

/// The largest image file that is read, in bytes: the most pixels in RGB, uncompressed.
pub const MAX_FILE_BYTES: u64 = MAX_PIXELS * 3 + (1 << 20);

/// The bits of 16-bit samples, where all are used.
pub const FULL_DEPTH: u32 = 16;
