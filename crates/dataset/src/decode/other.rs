//! PNG, WebP, BMP, GIF and TIFF, by the crate `image`.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageResult, Limits};

use super::file::{Format, MAX_PIXELS};
use super::gate::MemoryGate;
use crate::source::{PixelFormat, RawImage, Rejection};

/// The most bytes that a decoder may hold beside the decoded image.
const MAX_DECODER_BYTES: u64 = 64 << 20;

/// The most bytes of a decoded image: the most pixels in RGBA of 16 bits.
const MAX_DECODED_BYTES: u64 = MAX_PIXELS * 8;

pub(super) fn decode(
    format: Format,
    bytes: &[u8],
    gate: &MemoryGate,
) -> Result<RawImage, Rejection> {
    let file = Cursor::new(bytes);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    match format {
        Format::Png => read("PNG", PngDecoder::with_limits(file, limits), gate),
        Format::WebP => read("WebP", WebPDecoder::new(file), gate),
        Format::Bmp => read("BMP", BmpDecoder::new(file), gate),
        Format::Gif => read("GIF", GifDecoder::new(file), gate),
        Format::Tiff => read("TIFF", TiffDecoder::new(file), gate),
        Format::Jpeg => unreachable!("JPEG has its own decoder"),
    }
}

fn read(
    name: &str,
    decoder: ImageResult<impl ImageDecoder>,
    gate: &MemoryGate,
) -> Result<RawImage, Rejection> {
    let broken = |error| Rejection::new(format!("broken {name}: {error}"));
    let mut decoder = decoder.map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let decoded_bytes = decoder.total_bytes();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoded_bytes > MAX_DECODED_BYTES {
        return Err(Rejection::too_large(width.into(), height.into()));
    }
    // The decoded image, and a copy where it is converted to another one.
    let _permit = gate.enter(decoded_bytes + u64::from(width) * u64::from(height) * 4);
    if name != "PNG" {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(decoded_bytes + MAX_DECODER_BYTES);
        decoder.set_limits(limits).map_err(broken)?;
    }
    let color = decoder.color_type();
    let mut samples = vec![0; decoded_bytes as usize];
    decoder.read_image(&mut samples).map_err(broken)?;
    let (format, pixels) = to_eight_bits(color, samples)?;
    RawImage::new(width, height, format, pixels)
}

fn to_eight_bits(
    color: ColorType,
    mut samples: Vec<u8>,
) -> Result<(PixelFormat, Vec<u8>), Rejection> {
    if color.bytes_per_pixel() / color.channel_count() == 2 {
        keep_high_bytes(&mut samples);
    }
    Ok(match color {
        ColorType::L8 | ColorType::L16 => (PixelFormat::Grey, samples),
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
    })
}

/// Of 16-bit samples, which the decoders hand out in the machine's byte order.
fn keep_high_bytes(samples: &mut Vec<u8>) {
    for position in 0..samples.len() / 2 {
        let sample = u16::from_ne_bytes([samples[2 * position], samples[2 * position + 1]]);
        samples[position] = (sample >> 8) as u8;
    }
    samples.truncate(samples.len() / 2);
    samples.shrink_to_fit();
}
