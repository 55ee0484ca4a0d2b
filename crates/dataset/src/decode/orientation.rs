//! The orientation that a camera noted, and turning pixels by it.

use super::format::Format;
use crate::source::RawImage;

/// How the stored image is to be turned for people, by the numbers 1 to 8 of EXIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation(u8);

/// The orientation in a file's EXIF data; none where there is none or where it is upright.
pub fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let exif = match Format::of(bytes)? {
        Format::Jpeg => jpeg_exif(bytes)?,
        Format::Png => png_exif(bytes)?,
        Format::WebP => webp_exif(bytes)?,
        Format::Tiff => bytes,
        Format::Bmp | Format::Gif | Format::Dib | Format::Netpbm | Format::Tga => return None,
    };
    orientation_tag(exif)
        .filter(|value| (2..=8).contains(value))
        .map(Orientation)
}

impl Orientation {
    /// The pixels as they are to be seen.
    pub(crate) fn apply(self, image: &RawImage) -> RawImage {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channels = image.format().channels();
        let (across, down) = match self.0 {
            5.. => (height, width),
            _ => (width, height),
        };
        let pixels = image.pixels();
        let mut turned = Vec::with_capacity(pixels.len());
        for y in 0..down {
            for x in 0..across {
                let (column, line) = match self.0 {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    8 => (width - 1 - y, x),
                    _ => (x, y),
                };
                turned.extend_from_slice(&pixels[(line * width + column) * channels..][..channels]);
            }
        }
        RawImage::new(across as u32, down as u32, image.format(), turned)
            .expect("as many pixels as before, and no side longer than the longer one")
    }
}

/// The EXIF data of the first APP1 segment that has some.
fn jpeg_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        let [0xFF, marker, high, low, ..] = *rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        match (marker, segment.strip_prefix(b"Exif\0\0")) {
            (0xE1, Some(exif)) => return Some(exif),
            // Start of scan or end of image: no more headers.
            (0xDA | 0xD9, _) => return None,
            _ => rest = rest.get(2 + length..)?,
        }
    }
}

fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let data = rest.get(8..)?.get(..length)?;
        match rest.get(4..8)? {
            b"eXIf" => return Some(data),
            b"IDAT" => return None,
            _ => rest = rest.get(12 + length..)?,
        }
    }
}

fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(12..)?;
    loop {
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
        let data = rest.get(8..)?.get(..length)?;
        if rest.starts_with(b"EXIF") {
            return Some(data.strip_prefix(b"Exif\0\0").unwrap_or(data));
        }
        rest = rest.get(8 + length + length % 2..)?;
    }
}

/// Tag 0x0112 of the first directory of a TIFF structure.
fn orientation_tag(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let pair = *tiff.get(at..)?.first_chunk()?;
        Some(if little {
            u16::from_le_bytes(pair)
        } else {
            u16::from_be_bytes(pair)
        })
    };
    let four = *tiff.get(4..)?.first_chunk()?;
    let directory = if little {
        u32::from_le_bytes(four)
    } else {
        u32::from_be_bytes(four)
    } as usize;
    let entries = usize::from(short(directory)?);
    (0..entries)
        .map(|entry| directory + 2 + 12 * entry)
        .find(|at| short(*at) == Some(0x0112))
        .and_then(|at| short(at + 8))
        .and_then(|value| u8::try_from(value).ok())
}
