//! Lanczos resizing with the arithmetic of Pillow, so that features of resized images are comparable.
//!
//! Two passes, columns then lines, each rounded to 8 bits; the filter is widened by the factor of reduction
//! (antialiasing) and cut off at the border; weights are normalised and rounded to 22 fractional bits.

use std::f64::consts::PI;

use crate::shards::CHANNELS;

/// Fractional bits of a weight: what 32 bits leave beside the 8 of a sample and 2 for the filter's overshoot.
const WEIGHT_BITS: u32 = 22;

/// Half the filter's width at scale 1.
const LOBES: f64 = 3.0;

/// Resizes an RGB image.
///
/// # Shapes
/// - `pixels`: `[height, width, 3]`, u8
/// - returns: `[out_height, out_width, 3]`, u8
pub(crate) fn resize(
    pixels: &[u8],
    width: usize,
    height: usize,
    out_width: usize,
    out_height: usize,
) -> Vec<u8> {
    let narrowed = if width == out_width {
        pixels.to_vec()
    } else {
        // Columns become lines and back, so that one loop over contiguous samples serves both passes.
        let columns = transpose(pixels, width, height);
        let resampled = resample_lines(&columns, height * CHANNELS, &weights(width, out_width));
        transpose(&resampled, height, out_width)
    };
    if height == out_height {
        narrowed
    } else {
        resample_lines(
            &narrowed,
            out_width * CHANNELS,
            &weights(height, out_height),
        )
    }
}

/// The source lines that make one line of the result.
struct Weights {
    first: usize,
    /// Fixed-point weights of the lines from `first` on.
    weights: Vec<i32>,
}

fn weights(length: usize, out_length: usize) -> Vec<Weights> {
    let scale = length as f64 / out_length as f64;
    let stretch = f64::max(1.0, scale);
    let support = LOBES * stretch;
    (0..out_length)
        .map(|position| {
            let center = (position as f64 + 0.5) * scale;
            let first = f64::max(0.0, center - support + 0.5) as usize;
            let end = usize::min(length, (center + support + 0.5) as usize);
            let values: Vec<f64> = (first..end)
                .map(|line| lanczos((line as f64 - center + 0.5) / stretch))
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

/// The windowed sinc of three lobes (Duchon 1979).
fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            1.0
        } else {
            (PI * x).sin() / (PI * x)
        }
    };
    if (-LOBES..LOBES).contains(&x) {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

fn resample_lines(lines: &[u8], line_bytes: usize, weights: &[Weights]) -> Vec<u8> {
    let mut resampled = Vec::with_capacity(weights.len() * line_bytes);
    let mut sums = vec![0; line_bytes];
    for Weights { first, weights } in weights {
        sums.fill(1 << (WEIGHT_BITS - 1));
        let sources = lines[first * line_bytes..].chunks_exact(line_bytes);
        for (line, weight) in sources.zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(line) {
                *sum += i32::from(*sample) * weight;
            }
        }
        resampled.extend(
            sums.iter()
                .map(|sum| (sum >> WEIGHT_BITS).clamp(0, 255) as u8),
        );
    }
    resampled
}

/// Columns to lines: `[height, width, 3]` to `[width, height, 3]`.
fn transpose(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<CHANNELS>();
    let mut transposed = Vec::with_capacity(pixels.len() * CHANNELS);
    for column in 0..width {
        for line in 0..height {
            transposed.extend_from_slice(&pixels[line * width + column]);
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_itself_at_any_size() {
        for (width, height, side) in [(1, 1, 5), (7, 3, 4), (100, 33, 16), (5, 9, 64)] {
            let pixels = [12, 200, 255].repeat(width * height);
            assert_eq!(
                resize(&pixels, width, height, side, side),
                [12, 200, 255].repeat(side * side)
            );
        }
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let pixels: Vec<u8> = (0..36).collect();
        let columns = transpose(&pixels, 4, 3);
        assert_eq!(columns[..9], [0, 1, 2, 12, 13, 14, 24, 25, 26]);
        assert_eq!(transpose(&columns, 3, 4), pixels);
    }
}
