//! Composing images with transparency on a ground, and luma of colours, in 8 bits as Pillow does.

use crate::source::{PixelFormat, RawImage};

/// The image as RGB: transparent pixels composed on the opaque `background`.
///
/// Each value is `(source * alpha + background * (255 - alpha)) / 255`, rounded to the nearest integer,
/// which is what Pillow's `alpha_composite` on an opaque ground gives for every combination of values.
pub fn compose(image: RawImage, background: [u8; 3]) -> Vec<u8> {
    match image.format() {
        PixelFormat::Grey => image.pixels().iter().flat_map(|grey| [*grey; 3]).collect(),
        PixelFormat::Rgb => image.into_pixels(),
        PixelFormat::Rgba => image
            .pixels()
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|[red, green, blue, alpha]| {
                let over = |value: &u8, ground: u8| blend(*value, ground, *alpha);
                [
                    over(red, background[0]),
                    over(green, background[1]),
                    over(blue, background[2]),
                ]
            })
            .collect(),
    }
}

/// The image as luma, as Pillow's `convert("L")` makes it of grey and of RGB; transparent pixels are composed on the
/// opaque `background` first.
pub fn compose_grey(image: RawImage, background: [u8; 3]) -> Vec<u8> {
    match image.format() {
        PixelFormat::Grey => image.into_pixels(),
        PixelFormat::Rgb | PixelFormat::Rgba => {
            let pixels = compose(image, background);
            pixels
                .as_chunks::<3>()
                .0
                .iter()
                .copied()
                .map(luma)
                .collect()
        }
    }
}

/// ITU-R 601-2 in 16 fractional bits, rounded to the nearest integer.
fn luma(pixel: [u8; 3]) -> u8 {
    let [red, green, blue] = pixel.map(u32::from);
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

fn blend(value: u8, ground: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(value) * alpha + u32::from(ground) * (255 - alpha);
    ((sum + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integer arithmetic that Pillow documents: 7 extra bits, division by 255 by shifts.
    fn pillow(value: u32, ground: u32, alpha: u32) -> u32 {
        let weight = alpha * 128;
        let sum = value * weight + ground * (255 * 128 - weight) + (128 << 7);
        (((sum >> 8) + sum) >> 8) >> 7
    }

    #[test]
    fn every_value_is_composed_as_pillow_does() {
        for ground in [0u8, 37, 128, 200, 255] {
            for alpha in 0..=255u8 {
                for value in 0..=255u8 {
                    let expected = pillow(value.into(), ground.into(), alpha.into());
                    assert_eq!(u32::from(blend(value, ground, alpha)), expected);
                }
            }
        }
    }

    #[test]
    fn transparent_pixels_take_the_ground_and_opaque_ones_stay() {
        let pixels = vec![10, 20, 30, 0, 10, 20, 30, 255];
        let image = RawImage::new(2, 1, PixelFormat::Rgba, pixels).unwrap();
        assert_eq!(compose(image, [1, 2, 3]), [1, 2, 3, 10, 20, 30]);
        let grey = RawImage::new(2, 1, PixelFormat::Grey, vec![5, 6]).unwrap();
        assert_eq!(compose(grey.clone(), [0; 3]), [5, 5, 5, 6, 6, 6]);
        assert_eq!(compose_grey(grey, [0; 3]), [5, 6]);
    }
}
