//! From 8-bit pixels of any size to the network's input.

use tch::{Kind, Tensor};

/// Side of the network's input in pixels.
const SIDE: i64 = 224;

/// Resizes by bicubic interpolation (a = −0.75, half-pixel centres, no antialiasing), clamps to [0, 255] and
/// centres: `(x − 127) / 128`, as the published model is called.
///
/// # Shapes
/// - `images`: `[batch, 3, height, width]`, u8
/// - returns: `[batch, 3, 224, 224]`, f32, in [−0.992, 1]
pub(super) fn preprocess(images: &Tensor) -> Tensor {
    let pixels = images.to_kind(Kind::Float);
    let mut resized = pixels.upsample_bicubic2d([SIDE, SIDE], false, None, None);
    (resized.clamp_(0.0, 255.0) - 127.0) / 128.0
}
