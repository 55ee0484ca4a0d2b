//! The images of a set one after another, as an animated picture.

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

use crate::error::DatasetError;
use crate::loader::ShardSet;
use crate::shards::Channels;

/// How long an image is shown, in milliseconds.
const SHOWN_MS: u32 = 80;

/// How long the first and the last one are.
const ENDS_SHOWN_MS: u32 = 480;

/// Smaller images are enlarged to about this side, in pixels.
const SIDE: usize = 192;

/// How carefully colours are chosen, 1 (best) to 30.
const SPEED: i32 = 10;

/// A GIF of all images of a set, from the first to the last and back, without end. GIF has 256 colours an image.
///
/// # Errors
/// [`DatasetError::Encode`] if the GIF cannot be made.
pub fn animation_gif(set: &ShardSet) -> Result<Vec<u8>, DatasetError> {
    let scale = usize::max(
        1,
        SIDE / usize::max(1, usize::max(set.width(), set.height())),
    );
    let last = set.len().saturating_sub(1);
    let order = (0..set.len()).chain((1..last).rev());
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut file, SPEED);
    encoder
        .set_repeat(Repeat::Infinite)
        .map_err(DatasetError::Encode)?;
    for index in order {
        let shown = if index == 0 || index == last {
            ENDS_SHOWN_MS
        } else {
            SHOWN_MS
        };
        let delay = Delay::from_numer_denom_ms(shown, 1);
        let frame = Frame::from_parts(enlarged(set, index, scale), 0, 0, delay);
        encoder.encode_frame(frame).map_err(DatasetError::Encode)?;
    }
    drop(encoder);
    Ok(file)
}

/// An image of a set, each pixel enlarged to `scale` x `scale`.
fn enlarged(set: &ShardSet, index: usize, scale: usize) -> RgbaImage {
    const OPAQUE: u8 = 255;
    let (width, height) = (set.width(), set.height());
    let (pixels, channels) = (set.pixels(index), set.channels());
    RgbaImage::from_fn((width * scale) as u32, (height * scale) as u32, |x, y| {
        let place = y as usize / scale * width + x as usize / scale;
        let pixel = &pixels[place * channels.count()..];
        image::Rgba(match channels {
            Channels::Grey => [pixel[0], pixel[0], pixel[0], OPAQUE],
            Channels::Rgb => [pixel[0], pixel[1], pixel[2], OPAQUE],
        })
    })
}
