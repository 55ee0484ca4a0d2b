//! Image files to 8-bit pixels, refusing what is broken, of another format or a decompression bomb.
//!
//! The format is found from the content, never from the name: JPEG ([`jpeg`](self), by libjpeg-turbo), and PNG, WebP,
//! BMP, GIF, TIFF, Netpbm and TGA (by the crate `image`). Memory is asked for at a [`MemoryGate`] before it is taken.

mod dct;
mod file;
mod first;
mod gate;
mod jpeg;
mod libjpeg;
mod orientation;
mod other;
mod planes;

pub(crate) use file::is_image_head;
pub use file::{FULL_DEPTH, MAX_FILE_BYTES, MAX_PIXELS, decode, decode_with_depth};
pub use first::first_readable;
pub use gate::MemoryGate;
pub use orientation::{Orientation, orientation};
