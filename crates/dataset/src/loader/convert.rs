//! Interleaved bytes to float32 planes, the one piece of arithmetic between the page cache and a tensor.
//!
//! Each value is `byte / 127.5 - 1` with the two operations rounded one after the other, so that every way through
//! here gives the same bits.

use super::patch::PatchSize;
use crate::shards::Channels;

/// Bytes of a pixel in colour.
const COLORS: usize = Channels::Rgb.count();

/// A patch within an image.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// What a pixel holds.
    pub(super) channels: Channels,
    /// Columns of the image.
    pub(super) image_width: usize,
    /// The patch's first line.
    pub(super) row: usize,
    /// The patch's first column in the image as it lies in memory.
    pub(super) left: usize,
    /// Its size.
    pub(super) size: PatchSize,
    /// Whether each line is written right to left.
    pub(super) mirrored: bool,
}

/// Copies a patch that lies within the image.
///
/// # Shapes
/// - `image`: `[image height, image_width, channels]`, u8
/// - `out`: `[channels, size.height, size.width]`, f32 in [-1, 1]
pub(super) fn copy_patch(image: &[u8], cut: Cut, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(
            unsafe_code,
            reason = "the processor has the instructions that the function is compiled for, as just asked"
        )]
        return unsafe { copy_patch_avx2(image, cut, out) };
    }
    copy_lines(image, cut, out);
}

/// The same lines compiled for AVX2: taking apart pixels of three bytes needs its shuffles, three times as fast.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_patch_avx2(image: &[u8], cut: Cut, out: &mut [f32]) {
    copy_lines(image, cut, out);
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is compiled again within each function that allows other instructions"
)]
fn copy_lines(image: &[u8], cut: Cut, out: &mut [f32]) {
    match cut.channels {
        Channels::Grey => copy_grey(image, cut, out),
        Channels::Rgb => copy_colors(image, cut, out),
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is compiled again within each function that allows other instructions"
)]
fn copy_grey(image: &[u8], cut: Cut, out: &mut [f32]) {
    let width = cut.size.width;
    for (line, out) in out.chunks_exact_mut(width).enumerate() {
        let start = (cut.row + line) * cut.image_width + cut.left;
        for (byte, out) in image[start..][..width].iter().zip(out.iter_mut()) {
            *out = value(*byte);
        }
        if cut.mirrored {
            out.reverse();
        }
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is compiled again within each function that allows other instructions"
)]
fn copy_colors(image: &[u8], cut: Cut, out: &mut [f32]) {
    let PatchSize { height, width } = cut.size;
    let (red, rest) = out.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    let lines = red
        .chunks_exact_mut(width)
        .zip(green.chunks_exact_mut(width))
        .zip(blue.chunks_exact_mut(width));
    for (line, ((red, green), blue)) in lines.enumerate() {
        let start = ((cut.row + line) * cut.image_width + cut.left) * COLORS;
        let bytes = &image[start..][..width * COLORS];
        let pixels = bytes.as_chunks::<COLORS>().0.iter();
        let values = red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut());
        for (pixel, ((red, green), blue)) in pixels.zip(values) {
            *red = value(pixel[0]);
            *green = value(pixel[1]);
            *blue = value(pixel[2]);
        }
        if cut.mirrored {
            red.reverse();
            green.reverse();
            blue.reverse();
        }
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is compiled again within each function that allows other instructions"
)]
fn value(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

#[cfg(test)]
mod tests {
    use super::{Cut, copy_lines, copy_patch};
    use crate::loader::PatchSize;
    use crate::shards::Channels;

    /// Every byte in every place of a vector register, at widths that fill none, some and many.
    #[test]
    fn every_byte_becomes_the_same_value_on_every_path() {
        for channels in [Channels::Grey, Channels::Rgb] {
            check(channels);
        }
    }

    fn check(channels: Channels) {
        let (image_width, height, count) = (97, 8, channels.count());
        let image: Vec<u8> = (0..image_width * height * count)
            .map(|place| (place * 89) as u8)
            .collect();
        let mut seen = [false; 256];
        for width in [1, 5, 16, 31, 32, 64, 97] {
            for (left, mirrored) in [(0, false), (97 - width, true)] {
                let cut = Cut {
                    channels,
                    image_width,
                    row: 1,
                    left,
                    size: PatchSize { height: 6, width },
                    mirrored,
                };
                let mut out = vec![0.0; cut.size.values(channels)];
                copy_patch(&image, cut, &mut out);
                let mut plain = out.clone();
                copy_lines(&image, cut, &mut plain);
                for (place, (value, plain)) in out.iter().zip(&plain).enumerate() {
                    let (channel, line, column) =
                        (place / width / 6, place / width % 6, place % width);
                    let column = if mirrored { width - 1 - column } else { column };
                    let byte = image[((1 + line) * image_width + left + column) * count + channel];
                    seen[usize::from(byte)] = true;
                    let expected = f32::from(byte) / 127.5 - 1.0;
                    assert_eq!(value.to_bits(), expected.to_bits());
                    assert_eq!(plain.to_bits(), expected.to_bits());
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
