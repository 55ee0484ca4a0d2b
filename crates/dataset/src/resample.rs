//! Resizing with the arithmetic of Pillow, so that features of resized images are comparable.
//!
//! Two passes, columns then lines, each rounded to 8 bits; the filter is widened by the factor of reduction
//! (antialiasing) and cut off at the border; weights are normalised and rounded to 22 fractional bits.
#![expect(
    clippy::inline_always,
    reason = "what is compiled for wider vectors must lie within the function that is"
)]

use std::cell::RefCell;
use std::f64::consts::PI;
use std::rc::Rc;

use crate::simd::{Kernel, widest};
use crate::size::Size;

/// Fractional bits of a weight: what 32 bits leave beside the 8 of a sample and 2 for the filter's overshoot.
const WEIGHT_BITS: u32 = 22;

/// How far, and how, a source sample counts for a sample of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// The mean of the covered samples.
    Box,
    /// Keys' cubic with a = -0.5.
    Bicubic,
    /// The windowed sinc of three lobes (Duchon 1979).
    Lanczos,
}

/// Resizes an image of 1 to 4 channels.
///
/// # Shapes
/// - `pixels`: `[from.height, from.width, channels]`, u8
/// - returns: `[to.height, to.width, channels]`, u8
pub(crate) fn resize(
    pixels: &[u8],
    channels: usize,
    from: Size,
    to: Size,
    filter: Filter,
) -> Vec<u8> {
    let narrowed = if from.width == to.width {
        pixels.to_vec()
    } else {
        // Columns become lines and back, so that one loop over contiguous samples serves both passes.
        let columns = transpose(pixels, channels, from.width, from.height);
        let weights = weights(from.width, to.width, filter);
        let resampled = resample_lines(&columns, from.height * channels, &weights);
        transpose(&resampled, channels, from.height, to.width)
    };
    if from.height == to.height {
        narrowed
    } else {
        let weights = weights(from.height, to.height, filter);
        resample_lines(&narrowed, to.width * channels, &weights)
    }
}

/// The source lines that make one line of the result.
struct Weights {
    first: usize,
    /// Fixed-point weights of the lines from `first` on.
    weights: Vec<i32>,
}

/// The weights of a resizing, kept for the thread's next image, which is often of the same size.
fn weights(length: usize, out_length: usize, filter: Filter) -> Rc<[Weights]> {
    thread_local! {
        static LAST: RefCell<Option<(Resizing, Rc<[Weights]>)>> = const { RefCell::new(None) };
    }
    let wanted = (length, out_length, filter);
    LAST.with_borrow_mut(|last| match last {
        Some((resizing, weights)) if *resizing == wanted => weights.clone(),
        _ => {
            let weights: Rc<[Weights]> = compute_weights(length, out_length, filter).into();
            *last = Some((wanted, weights.clone()));
            weights
        }
    })
}

/// Length before and after, and the filter.
type Resizing = (usize, usize, Filter);

fn compute_weights(length: usize, out_length: usize, filter: Filter) -> Vec<Weights> {
    let scale = length as f64 / out_length as f64;
    let stretch = f64::max(1.0, scale);
    let support = filter.support() * stretch;
    (0..out_length)
        .map(|position| {
            let center = (position as f64 + 0.5) * scale;
            let first = f64::max(0.0, center - support + 0.5) as usize;
            let end = usize::min(length, (center + support + 0.5) as usize);
            let values: Vec<f64> = (first..end)
                .map(|line| filter.weight((line as f64 - center + 0.5) / stretch))
                .collect();
            let total: f64 = values.iter().sum();
            let one = f64::from(1 << WEIGHT_BITS);
            let weights = values
                .iter()
                .map(|value| (value / total * one).round() as i32)
                .collect();
            Weights { first, weights }
        })
        .collect()
}

impl Filter {
    /// Half the filter's width at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (PI * x).sin() / (PI * x)
            }
        };
        match self {
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if x.abs() < 1.0 => (1.5 * x.abs() - 2.5) * x * x + 1.0,
            Self::Bicubic if x.abs() < 2.0 => {
                (((x.abs() - 5.0) * x.abs() + 8.0) * x.abs() - 4.0) * -0.5
            }
            _ => 0.0,
        }
    }
}

fn resample_lines(lines: &[u8], line_bytes: usize, weights: &[Weights]) -> Vec<u8> {
    let mut resampled = vec![0; weights.len() * line_bytes];
    widest(ResampleLines {
        lines,
        line_bytes,
        weights,
        resampled: &mut resampled,
    });
    resampled
}

struct ResampleLines<'a> {
    lines: &'a [u8],
    line_bytes: usize,
    weights: &'a [Weights],
    resampled: &'a mut [u8],
}

impl Kernel for ResampleLines<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut sums = vec![0; self.line_bytes];
        let resampled = self.resampled.chunks_exact_mut(self.line_bytes);
        for (Weights { first, weights }, out) in self.weights.iter().zip(resampled) {
            sums.fill(1 << (WEIGHT_BITS - 1));
            let lines = &self.lines[first * self.line_bytes..][..weights.len() * self.line_bytes];
            let pairs = lines.chunks_exact(2 * self.line_bytes);
            let last = pairs.remainder();
            // Two lines a round: sums are loaded and stored half as often.
            for (pair, weights) in pairs.zip(weights.chunks_exact(2)) {
                let (one, two) = pair.split_at(self.line_bytes);
                for ((sum, one), two) in sums.iter_mut().zip(one).zip(two) {
                    *sum += i32::from(*one) * weights[0] + i32::from(*two) * weights[1];
                }
            }
            for (sum, sample) in sums.iter_mut().zip(last) {
                *sum += i32::from(*sample) * weights[weights.len() - 1];
            }
            for (sample, sum) in out.iter_mut().zip(&sums) {
                *sample = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
            }
        }
    }
}

/// Columns to lines: `[height, width, channels]` to `[width, height, channels]`.
fn transpose(pixels: &[u8], channels: usize, width: usize, height: usize) -> Vec<u8> {
    match channels {
        1 => transpose_pixels::<1>(pixels, width, height),
        2 => transpose_pixels::<2>(pixels, width, height),
        3 => transpose_pixels::<3>(pixels, width, height),
        _ => transpose_pixels::<4>(pixels, width, height),
    }
}

fn transpose_pixels<const CHANNELS: usize>(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    /// Lines that are walked together, so that what is fetched of one of them serves several columns.
    const TOGETHER: usize = 8;
    let (pixels, _) = pixels.as_chunks::<CHANNELS>();
    let mut transposed = vec![0; pixels.len() * CHANNELS];
    let (out, _) = transposed.as_chunks_mut::<CHANNELS>();
    for first in (0..height).step_by(TOGETHER) {
        let last = usize::min(height, first + TOGETHER);
        for column in 0..width {
            let out = &mut out[column * height..][first..last];
            for (line, pixel) in (first..last).zip(out) {
                *pixel = pixels[line * width + column];
            }
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_itself_at_any_size() {
        for filter in [Filter::Box, Filter::Bicubic, Filter::Lanczos] {
            for (width, height, side) in [(1, 1, 5), (7, 3, 4), (100, 33, 16), (5, 9, 64)] {
                let pixels = [12, 200, 255].repeat(width * height);
                let from = Size { width, height };
                assert_eq!(
                    resize(&pixels, 3, from, Size::square(side), filter),
                    [12, 200, 255].repeat(side * side)
                );
            }
        }
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let pixels: Vec<u8> = (0..36).collect();
        let columns = transpose(&pixels, 3, 4, 3);
        assert_eq!(columns[..9], [0, 1, 2, 12, 13, 14, 24, 25, 26]);
        assert_eq!(transpose(&columns, 3, 3, 4), pixels);
    }
}
