//! Image files to 8-bit pixels, refusing what is broken, of another format or a decompression bomb.
//!
//! The format is found from the content, never from the name: JPEG ([`jpeg`](self), by libjpeg-turbo), and PNG, WebP,
//! BMP, GIF, TIFF, Netpbm and TGA (by the crate `image`). Memory is asked for at a [`MemoryGate`] before it is taken.

mod dct;
mod file;
mod first;
mod format;
mod gate;
mod jpeg;
mod libjpeg;
mod limits;
mod orientation;
mod other;
mod planes;

pub use file::{decode, decode_with_depth};
pub use first::first_readable;
pub(crate) use format::is_image_head;
pub use gate::MemoryGate;
pub use limits::{FULL_DEPTH, MAX_FILE_BYTES, MAX_PIXELS};
pub use orientation::{Orientation, orientation};
