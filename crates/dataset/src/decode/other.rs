//! PNG, WebP, BMP, GIF, TIFF, Netpbm and TGA, by the crate `image`.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::tga::TgaDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, ImageResult, Limits};

use super::format::Format;
use super::gate::MemoryGate;
use super::limits::MAX_PIXELS;
use crate::source::{PixelFormat, RawImage, Rejection};

/// The most bytes that a decoder may hold beside the decoded image.
const MAX_DECODER_BYTES: u64 = 64 << 20;

/// The most bytes of a decoded image: the most pixels in RGBA of 16 bits.
const MAX_DECODED_BYTES: u64 = MAX_PIXELS * 8;

pub(super) fn decode(
    format: Format,
    bytes: &[u8],
    gate: &MemoryGate,
    depth: u32,
) -> Result<RawImage, Rejection> {
    let file = Cursor::new(bytes);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    match format {
        Format::Png => read("PNG", PngDecoder::with_limits(file, limits), gate, depth),
        Format::WebP => read("WebP", WebPDecoder::new(file), gate, depth),
        Format::Bmp => read("BMP", BmpDecoder::new(file), gate, depth),
        Format::Gif => read("GIF", GifDecoder::new(file), gate, depth),
        Format::Tiff => read("TIFF", TiffDecoder::new(file), gate, depth),
        Format::Dib => read(
            "BMP",
            BmpDecoder::new_without_file_header(file),
            gate,
            depth,
        ),
        Format::Netpbm => read("Netpbm", PnmDecoder::new(file), gate, depth),
        Format::Tga => read("TGA", TgaDecoder::new(file), gate, depth),
        Format::Jpeg => unreachable!("JPEG has its own decoder"),
    }
}

fn read(
    name: &str,
    decoder: ImageResult<impl ImageDecoder>,
    gate: &MemoryGate,
    depth: u32,
) -> Result<RawImage, Rejection> {
    let broken = |error| match error {
        ImageError::Unsupported(error) => Rejection::new(format!("not supported: {error}")),
        error => Rejection::new(format!("broken {name}: {error}")),
    };
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
    let largest = (bytes_per_sample(color) == 2).then(|| largest_sample(&samples));
    let (format, pixels) = to_eight_bits(color, samples, depth)?;
    Ok(RawImage::new(width, height, format, pixels)?.with_largest_sample(largest))
}

fn bytes_per_sample(color: ColorType) -> u8 {
    color.bytes_per_pixel() / color.channel_count()
}

/// Of 16-bit samples.
fn largest_sample(samples: &[u8]) -> u16 {
    let samples = samples.as_chunks::<2>().0.iter();
    samples
        .map(|sample| u16::from_ne_bytes(*sample))
        .max()
        .unwrap_or_default()
}

fn to_eight_bits(
    color: ColorType,
    mut samples: Vec<u8>,
    depth: u32,
) -> Result<(PixelFormat, Vec<u8>), Rejection> {
    if bytes_per_sample(color) == 2 {
        keep_high_bits(&mut samples, depth);
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
                "not supported: pixels of the kind {color:?}"
            )));
        }
    })
}

/// Of 16-bit samples, which the decoders hand out in the machine's byte order, and of which the lowest `depth` bits are used.
fn keep_high_bits(samples: &mut Vec<u8>, depth: u32) {
    for position in 0..samples.len() / 2 {
        let sample = u16::from_ne_bytes([samples[2 * position], samples[2 * position + 1]]);
        samples[position] = u16::min(sample >> (depth - 8), u8::MAX.into()) as u8;
    }
    samples.truncate(samples.len() / 2);
    samples.shrink_to_fit();
}
