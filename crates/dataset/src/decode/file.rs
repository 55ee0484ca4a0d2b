//! An image file of any format.

use super::format::{Format, is_tga, unread};
use super::gate::MemoryGate;
use super::limits::FULL_DEPTH;
use super::{jpeg, other};
use crate::source::{RawImage, Rejection};

/// Decodes an image file to grey, RGB, or RGBA where it has transparency.
///
/// Palettes are looked up; of 16-bit samples the high byte is kept (as Pillow does for 16-bit colour; 16-bit grey,
/// which Pillow clips to white, is treated the same way here). Of an animation it is the first picture. Orientation
/// is not applied.
pub fn decode(bytes: &[u8], gate: &MemoryGate) -> Result<RawImage, Rejection> {
    decode_with_depth(bytes, gate, FULL_DEPTH)
}

/// The same for 16-bit samples of which only the lowest `depth` bits are used, in 8..=16: the highest eight of these are
/// kept, and larger samples are the largest.
pub fn decode_with_depth(
    bytes: &[u8],
    gate: &MemoryGate,
    depth: u32,
) -> Result<RawImage, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new("the file is empty"));
    }
    match Format::of(bytes) {
        Some(Format::Jpeg) => jpeg::decode(bytes, gate),
        Some(format) => other::decode(format, bytes, gate, depth),
        None => match unread(bytes) {
            Some(format) => Err(Rejection::new(format!(
                "the content is {format}, which is not read"
            ))),
            None if is_tga(bytes) => other::decode(Format::Tga, bytes, gate, depth),
            None => Err(Rejection::new("the content is not an image")),
        },
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;
    use crate::source::PixelFormat;

    /// Two by two pixels of a palette of red, green and transparent blue: red green / blue red.
    const PALETTE_PNG: [u8; 107] = [
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0,
        0, 0, 2, 0, 0, 0, 2, 8, 3, 0, 0, 0, 0x45, 0x68, 0xfd, 0x16, 0, 0, 0, 9, 0x50, 0x4c, 0x54,
        0x45, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0x2d, 0x4a, 0xcd, 0x8a, 0, 0, 0, 3, 0x74, 0x52,
        0x4e, 0x53, 0xff, 0xff, 0, 0xd7, 0xca, 0x0d, 0x41, 0, 0, 0, 0x0e, 0x49, 0x44, 0x41, 0x54,
        0x78, 0x9c, 0x63, 0x60, 0x60, 0x64, 0x60, 0x62, 0, 0, 0, 0x0e, 0, 0x04, 0xc6, 0x88, 0x7c,
        0xf8, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    ];

    fn gate() -> MemoryGate {
        MemoryGate::new(1 << 30)
    }

    fn encode(samples: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(samples, width, height, color)
            .unwrap();
        png
    }

    #[track_caller]
    fn check(png: &[u8], format: PixelFormat, pixels: &[u8]) {
        let image = decode(png, &gate()).unwrap();
        assert_eq!((image.format(), image.pixels()), (format, pixels));
    }

    #[test]
    fn every_colour_type_becomes_eight_bit() {
        check(
            &encode(&[7, 9], 2, 1, ExtendedColorType::L8),
            PixelFormat::Grey,
            &[7, 9],
        );
        check(
            &encode(&[7, 9], 1, 1, ExtendedColorType::La8),
            PixelFormat::Rgba,
            &[7, 7, 7, 9],
        );
        check(
            &encode(&[1, 2, 3], 1, 1, ExtendedColorType::Rgb8),
            PixelFormat::Rgb,
            &[1, 2, 3],
        );
        // Pillow gives 128, 127, 255 for these samples: the high byte, not the nearest value.
        let deep: Vec<u8> = [0x80ffu16, 0x7f80, 0xffff]
            .iter()
            .flat_map(|sample| sample.to_ne_bytes())
            .collect();
        check(
            &encode(&deep, 1, 1, ExtendedColorType::Rgb16),
            PixelFormat::Rgb,
            &[128, 127, 255],
        );
        check(
            &PALETTE_PNG,
            PixelFormat::Rgba,
            &[255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 0, 255, 0, 0, 255],
        );
    }

    #[test]
    fn broken_and_unread_files_are_rejected_with_their_cause() {
        let mut noise = patchwork_core::Seed::new(0).stream();
        let samples: Vec<u8> = (0..64 * 64 * 3).map(|_| noise.next_u64() as u8).collect();
        let whole = encode(&samples, 64, 64, ExtendedColorType::Rgb8);
        let mut vast = whole.clone();
        vast[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x40;
        let cases: [(&[u8], &str); 9] = [
            (&[], "the file is empty"),
            (&whole[..8], "broken PNG"),
            (&whole[..40], "broken PNG"),
            (&whole[..whole.len() / 2], "broken PNG"),
            (&vast, "PNG"),
            (&damaged, "broken PNG"),
            (&[0xFF, 0xD8, 0xFF, 0xE0], "broken JPEG"),
            (
                b"\0\0\0\x1cftypavif\0\0\0\0",
                "the content is AVIF, which is not read",
            ),
            (b"hello", "the content is not an image"),
        ];
        for (bytes, cause) in cases {
            let rejection = decode(bytes, &gate()).unwrap_err();
            assert!(rejection.cause().contains(cause), "{rejection}");
        }
        assert_eq!(decode(&whole, &gate()).unwrap().pixels(), samples);
    }
}
