//! Image files to 8-bit pixels, refusing what is broken, foreign or a decompression bomb.
//!
//! Formats: PNG of every colour type and depth. The format is found from the content, never from the name.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder, Limits};

use crate::source::{PixelFormat, RawImage, Rejection};

/// The most pixels that an image may have: 64 mebipixels, so that a header cannot claim all memory.
pub const MAX_PIXELS: u64 = 1 << 26;

/// The most bytes that the decoder may hold beside the decoded image.
const MAX_DECODER_BYTES: u64 = 64 << 20;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes an image file to RGB, or to RGBA where it has transparency.
///
/// Palettes are looked up, grey becomes RGB, and of 16-bit samples the high byte is kept (as Pillow does for
/// 16-bit colour; 16-bit grey, which Pillow clips to white, is treated the same way here).
pub fn decode(bytes: &[u8]) -> Result<RawImage, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new("the file is empty"));
    }
    if !bytes.starts_with(PNG_SIGNATURE) {
        return Err(Rejection::new(match other_format(bytes) {
            Some(format) => format!("the content is {format}, not PNG"),
            None => "the content is not an image".to_owned(),
        }));
    }
    let broken = |error| Rejection::new(format!("broken PNG: {error}"));
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Rejection::new(format!(
            "{width} x {height} pixels are more than the limit of {MAX_PIXELS}"
        )));
    }
    let color = decoder.color_type();
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(broken)?;
    let (format, pixels) = to_eight_bit_color(color, samples)?;
    RawImage::new(width, height, format, pixels)
}

fn to_eight_bit_color(
    color: ColorType,
    samples: Vec<u8>,
) -> Result<(PixelFormat, Vec<u8>), Rejection> {
    let samples = match color.bytes_per_pixel() / color.channel_count() {
        2 => samples
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| high_byte(*pair))
            .collect(),
        _ => samples,
    };
    let converted = match color {
        ColorType::L8 | ColorType::L16 => (
            PixelFormat::Rgb,
            samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        ),
        ColorType::La8 | ColorType::La16 => {
            let pairs = samples.as_chunks::<2>().0.iter();
            let pixels = pairs
                .flat_map(|[grey, alpha]| [*grey, *grey, *grey, *alpha])
                .collect();
            (PixelFormat::Rgba, pixels)
        }
        ColorType::Rgb8 | ColorType::Rgb16 => (PixelFormat::Rgb, samples),
        ColorType::Rgba8 | ColorType::Rgba16 => (PixelFormat::Rgba, samples),
        _ => {
            return Err(Rejection::new(format!(
                "unsupported pixel format {color:?}"
            )));
        }
    };
    Ok(converted)
}

/// The decoder hands out 16-bit samples in the machine's byte order.
fn high_byte(sample: [u8; 2]) -> u8 {
    (u16::from_ne_bytes(sample) >> 8) as u8
}

fn other_format(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some("JPEG"),
        [b'G', b'I', b'F', b'8', ..] => Some("GIF"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("WebP"),
        [b'B', b'M', ..] => Some("BMP"),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Some("TIFF"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    use super::*;

    /// Two by two pixels of a palette of red, green and transparent blue: red green / blue red.
    const PALETTE_PNG: [u8; 107] = [
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0,
        0, 0, 2, 0, 0, 0, 2, 8, 3, 0, 0, 0, 0x45, 0x68, 0xfd, 0x16, 0, 0, 0, 9, 0x50, 0x4c, 0x54,
        0x45, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0xff, 0x2d, 0x4a, 0xcd, 0x8a, 0, 0, 0, 3, 0x74, 0x52,
        0x4e, 0x53, 0xff, 0xff, 0, 0xd7, 0xca, 0x0d, 0x41, 0, 0, 0, 0x0e, 0x49, 0x44, 0x41, 0x54,
        0x78, 0x9c, 0x63, 0x60, 0x60, 0x64, 0x60, 0x62, 0, 0, 0, 0x0e, 0, 0x04, 0xc6, 0x88, 0x7c,
        0xf8, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
    ];

    fn encode(samples: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(samples, width, height, color)
            .unwrap();
        png
    }

    #[track_caller]
    fn check(png: &[u8], format: PixelFormat, pixels: &[u8]) {
        let image = decode(png).unwrap();
        assert_eq!((image.format(), image.pixels()), (format, pixels));
    }

    #[test]
    fn every_colour_type_becomes_eight_bit_colour() {
        check(
            &encode(&[7, 9], 2, 1, ExtendedColorType::L8),
            PixelFormat::Rgb,
            &[7, 7, 7, 9, 9, 9],
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
    fn broken_and_foreign_files_are_rejected_with_their_cause() {
        let mut noise = patchwork_core::Seed::new(0).stream();
        let samples: Vec<u8> = (0..64 * 64 * 3).map(|_| noise.next_u64() as u8).collect();
        let whole = encode(&samples, 64, 64, ExtendedColorType::Rgb8);
        let mut vast = whole.clone();
        vast[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x40;
        let cases: [(&[u8], &str); 8] = [
            (&[], "the file is empty"),
            (&whole[..8], "broken PNG"),
            (&whole[..40], "broken PNG"),
            (&whole[..whole.len() / 2], "broken PNG"),
            (&vast, "PNG"),
            (&damaged, "broken PNG"),
            (&[0xFF, 0xD8, 0xFF, 0xE0], "the content is JPEG, not PNG"),
            (b"hello", "the content is not an image"),
        ];
        for (bytes, cause) in cases {
            let rejection = decode(bytes).unwrap_err();
            assert!(rejection.cause().contains(cause), "{rejection}");
        }
        assert_eq!(decode(&whole).unwrap().pixels(), samples);
    }
}
