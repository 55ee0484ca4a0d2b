//! Composing images with transparency on a ground, in 8 bits as Pillow does.

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
        assert_eq!(compose(grey, [0; 3]), [5, 5, 5, 6, 6, 6]);
    }
}
