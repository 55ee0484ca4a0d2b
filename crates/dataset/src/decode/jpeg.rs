//! JPEG to pixels, the same to the last bit as Pillow with libjpeg-turbo: its accurate transform and its smooth
//! upsampling of colour.
//!
//! The library parses and entropy-decodes. What follows is done by [`super::planes`] for images of the usual kinds and
//! sizes, and by the library for all others.

use super::gate::MemoryGate;
use super::libjpeg::{ColorSpace, Jpeg};
use super::limits::MAX_PIXELS;
use super::planes::{Plane, to_rgb};
use crate::source::{PixelFormat, RawImage, Rejection};

/// What decoding takes at most, of an image of three full components: coefficients, samples and pixels.
const BYTES_PER_PIXEL: u64 = 12;

/// The most pixels of an image whose coefficients are all held in memory though its coding does not need it.
const MAX_PIXELS_AT_ONCE: usize = 1 << 22;

/// Decodes a JPEG: grey to grey, all else to RGB.
///
/// Four-colour images are taken as Adobe writes them (inverted) and converted as Pillow does. Rejected are images
/// that lost data: truncated, or with codes that no encoder writes; bytes between segments are passed over.
pub(super) fn decode(bytes: &[u8], gate: &MemoryGate) -> Result<RawImage, Rejection> {
    let broken = |problem: String| Rejection::new(format!("broken JPEG: {problem}"));
    let jpeg = Jpeg::open(bytes).map_err(broken)?;
    let (width, height) = jpeg.size();
    if (width * height) as u64 > MAX_PIXELS {
        return Err(Rejection::too_large(width as u64, height as u64));
    }
    let _permit = gate.enter((width * height) as u64 * BYTES_PER_PIXEL);
    let usual = match width * height {
        ..=MAX_PIXELS_AT_ONCE => by_planes(jpeg).map_err(broken)?,
        _ => None,
    };
    let (format, pixels) = match usual {
        Some(decoded) => decoded,
        None => by_library(Jpeg::open(bytes).map_err(broken)?).map_err(broken)?,
    };
    RawImage::new(width as u32, height as u32, format, pixels)
}

/// None for kinds of images that are left to the library.
fn by_planes(jpeg: Jpeg<'_>) -> Result<Option<(PixelFormat, Vec<u8>)>, String> {
    let (width, height) = jpeg.size();
    let components = jpeg.components();
    let finest = (
        components.iter().map(|part| part.horizontal).max(),
        components.iter().map(|part| part.vertical).max(),
    );
    let (Some(across), Some(down)) = finest else {
        return Ok(None);
    };
    let planes: Option<Vec<Plane>> = components
        .iter()
        .map(|part| Plane::of(part, (across, down), width, height))
        .collect();
    let (space, Some(mut planes)) = (jpeg.color_space(), planes) else {
        return Ok(None);
    };
    if !matches!(
        (space, planes.len()),
        (ColorSpace::Grey, 1) | (ColorSpace::YCbCr, 3)
    ) {
        return Ok(None);
    }
    let complete = jpeg.coefficients(|component, line, blocks, table| {
        planes[component].fill(line, blocks, table);
    })?;
    if !complete {
        return Ok(None);
    }
    Ok(Some(match <[Plane; 3]>::try_from(planes) {
        Ok(planes) => (PixelFormat::Rgb, to_rgb(&planes, width, height)),
        Err(planes) => {
            let grey = planes.into_iter().next().unwrap_or_default();
            (PixelFormat::Grey, grey.into_samples())
        }
    }))
}

fn by_library(jpeg: Jpeg<'_>) -> Result<(PixelFormat, Vec<u8>), String> {
    Ok(match jpeg.color_space() {
        ColorSpace::Grey => (PixelFormat::Grey, jpeg.samples(ColorSpace::Grey)?),
        ColorSpace::YCbCr | ColorSpace::Rgb => (PixelFormat::Rgb, jpeg.samples(ColorSpace::Rgb)?),
        ColorSpace::Cmyk => {
            let mut samples = jpeg.samples(ColorSpace::Cmyk)?;
            let pixels = samples.len() / 4;
            for pixel in 0..pixels {
                let inks = std::array::from_fn(|ink| samples[pixel * 4 + ink]);
                samples[pixel * 3..][..3].copy_from_slice(&inks_to_rgb(inks));
            }
            samples.truncate(pixels * 3);
            (PixelFormat::Rgb, samples)
        }
        ColorSpace::Other => return Err("its colours are of no known kind".to_owned()),
    })
}

/// Inverted cyan, magenta, yellow and black to RGB.
fn inks_to_rgb(inks: [u8; 4]) -> [u8; 3] {
    let [cyan, magenta, yellow, black] = inks.map(|ink| 255 - ink);
    let light = 255 - black;
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * u32::from(light) + 128;
        let absorbed = (product + (product >> 8)) >> 8;
        light.saturating_sub(absorbed as u8)
    })
}
