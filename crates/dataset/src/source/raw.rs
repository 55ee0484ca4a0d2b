//! The interface of a source, and a raw image.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use patchwork_core::Digest;

use super::account::Account;
use crate::decode::MAX_PIXELS;
use crate::error::DatasetError;

/// A list of raw images, read in any order from many threads.
pub trait Source: Send + Sync {
    /// How many images there are, good or bad.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name and class of an image, without reading it.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn entry(&self, index: usize) -> Entry<'_>;

    /// About how many bytes [`fetch`](Self::fetch) holds of an image; 0 where that is not known.
    fn stored_bytes(&self, index: usize) -> u64;

    /// Reads a range of images, or says of each why it can never be used; nothing is decoded.
    ///
    /// Any range can be read, but a compressed archive is read from its start unless the range lies behind the last
    /// one.
    ///
    /// # Errors
    /// If the disk or the connection to it failed, so that nothing is known of the images.
    ///
    /// # Panics
    /// If the range ends beyond [`len`](Self::len).
    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError>;

    /// The names of the classes, by label; empty where images have none.
    fn class_names(&self) -> &[String];

    /// The digest of everything that [`fetch`](Self::fetch) and [`entry`](Self::entry) depend on outside the settings.
    fn digest(&self) -> Digest;

    /// The credit that the licence of the images asks for.
    fn credit(&self) -> Option<&str>;

    /// How it was read, and what became of everything that it holds.
    fn account(&self) -> &Account;
}

/// What a source holds of some images, in their order, or why each is left out.
pub type Fetched<'a> = Vec<Result<Payload<'a>, Rejection>>;

/// The name and class of a raw image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path in the source, with `/` between its parts.
    pub key: &'a str,
    /// Index into the class names.
    pub label: Option<u32>,
}

/// What a source holds of an image.
#[derive(Debug)]
pub enum Payload<'a> {
    /// An image file.
    File(Cow<'a, [u8]>),
    /// Pixels as they are.
    Pixels(RawImage),
}

/// Why an image was left out, as a lower-case fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(String);

impl Rejection {
    /// A rejection for the given cause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }

    /// A rejection for a size beyond [`MAX_PIXELS`].
    pub(crate) fn too_large(width: u64, height: u64) -> Self {
        Self(format!(
            "{width} x {height} pixels are more than the limit of {MAX_PIXELS}"
        ))
    }

    /// The cause.
    pub fn cause(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The channels of a raw image, one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// Grey.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and opacity, not premultiplied.
    Rgba,
}

impl PixelFormat {
    /// Bytes of a pixel.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// A decoded image, `[height, width, channels]`, u8.
#[derive(Clone, Debug)]
pub struct RawImage {
    width: u32,
    height: u32,
    format: PixelFormat,
    pixels: Vec<u8>,
    largest_sample: Option<u16>,
}

impl RawImage {
    /// An image from its pixels, refused if it is empty, wider or higher than 65,535 pixels, or if the
    /// pixels are not as many as its size says.
    pub fn new(
        width: u32,
        height: u32,
        format: PixelFormat,
        pixels: Vec<u8>,
    ) -> Result<Self, Rejection> {
        let sides = 1..=u32::from(u16::MAX);
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(Rejection::new(format!(
                "its size of {width} x {height} pixels is not usable"
            )));
        }
        let expected = u64::from(width) * u64::from(height) * format.channels() as u64;
        if pixels.len() as u64 != expected {
            return Err(Rejection::new(format!(
                "it has {} bytes instead of {expected}",
                pixels.len()
            )));
        }
        Ok(Self {
            width,
            height,
            format,
            pixels,
            largest_sample: None,
        })
    }

    /// Notes the largest of the 16-bit samples that it was made from.
    pub(crate) fn with_largest_sample(self, largest_sample: Option<u16>) -> Self {
        Self {
            largest_sample,
            ..self
        }
    }

    /// The largest of the 16-bit samples that it was made from; none where they had 8 bits or less.
    pub fn largest_sample(&self) -> Option<u16> {
        self.largest_sample
    }

    /// Width in pixels, at most 65,535.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at most 65,535.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The channels.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// The pixels, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels, row by row, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}
