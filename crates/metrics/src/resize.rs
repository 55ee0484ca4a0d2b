//! How 8-bit images come to the side of a network's input.
//!
//! Each way is another measurement: on 64×64 images FID differs by whole points between them (Parmar et al. 2022,
//! arXiv 2104.11222). All of them compute in float32 and round nothing to 8 bits.

use patchwork_weights::Resize;
use tch::{Device, Kind, Tensor};

/// Resizes images.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`, u8
/// - returns: `[batch, channels, side, side]`, f32, in [0, 255]; of the images' own size for [`Resize::None`]
pub fn resize(images: &Tensor, way: Resize, side: i64) -> Tensor {
    let pixels = images.to_kind(Kind::Float);
    match way {
        Resize::Tf1 => tensorflow_1(&pixels, side),
        Resize::Torch => pixels.upsample_bilinear2d([side, side], false, None, None),
        // libtorch's antialiased bicubic interpolation is Pillow's (a = −0.5); it overshoots at edges.
        Resize::Clean => pixels
            .internal_upsample_bicubic2d_aa([side, side], false, None, None)
            .clamp_(0.0, 255.0),
        // Without antialiasing it is OpenCV's (a = −0.75).
        Resize::Bicubic => pixels
            .upsample_bicubic2d([side, side], false, None, None)
            .clamp_(0.0, 255.0),
        Resize::None => pixels,
    }
}

/// `tf.image.resize_bilinear` of TensorFlow 1 with `align_corners=False`: output pixel i is read at i · input / output,
/// the last row and column are repeated.
fn tensorflow_1(pixels: &Tensor, side: i64) -> Tensor {
    let rows = interpolated(pixels, 2, side);
    interpolated(&rows, 3, side)
}

fn interpolated(pixels: &Tensor, dimension: i64, side: i64) -> Tensor {
    let length = pixels.size()[dimension as usize];
    if length == side {
        return pixels.shallow_clone();
    }
    let device = pixels.device();
    let double = (Kind::Double, Device::Cpu);
    let places = Tensor::arange(side, double) * (length as f64 / side as f64);
    let below = places.floor();
    let mut shape = [1; 4];
    shape[dimension as usize] = side;
    let share = (&places - &below)
        .to_kind(Kind::Float)
        .to_device(device)
        .view(shape);
    let below = below.to_kind(Kind::Int64).to_device(device);
    let above = (&below + 1).clamp_max(length - 1);
    let lower = pixels.index_select(dimension, &below);
    let upper = pixels.index_select(dimension, &above);
    lower.lerp_tensor(&upper, &share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: three pixels to four are read at 0, 0.75, 1.5 and 2.25, the last of which lies beyond the last pixel.
    #[test]
    fn tensorflow_reads_from_the_corner_and_repeats_the_last_pixel() {
        let row = Tensor::from_slice(&[0_u8, 100, 200]).view([1, 1, 1, 3]);
        let image = row.expand([1, 1, 3, 3], false);
        let resized = resize(&image, Resize::Tf1, 4);
        let expected = Tensor::from_slice(&[0_f32, 75.0, 150.0, 200.0]);
        for line in 0..4 {
            assert!(
                resized
                    .get(0)
                    .get(0)
                    .get(line)
                    .allclose(&expected, 0.0, 1e-4, false)
            );
        }
    }

    #[test]
    fn nothing_happens_to_images_of_the_right_side() {
        tch::manual_seed(0);
        let images = Tensor::randint(256, [2, 3, 9, 9], (Kind::Uint8, Device::Cpu));
        for way in [Resize::Tf1, Resize::Torch, Resize::Clean, Resize::None] {
            let difference = resize(&images, way, 9) - images.to_kind(Kind::Float);
            assert!(difference.abs().max().double_value(&[]) < 1e-4, "{way:?}");
        }
    }
}
