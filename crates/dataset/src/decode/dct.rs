//! The inverse transform of a block, as libjpeg-turbo's accurate integer method computes it.
//!
//! The algorithm is that of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with 12 multiplications, in 13 fractional
//! bits, two of which are kept between the passes: the numbers of the Independent JPEG Group's `jidctint.c`, so that
//! the samples agree with the library's to the last bit.
#![expect(
    clippy::inline_always,
    reason = "what is compiled for wider vectors must lie within the function that is"
)]

use super::libjpeg::BLOCK;

const SIDE: usize = 8;
const BITS: u32 = 13;
const KEPT_BITS: u32 = 2;

/// Eight columns (or lines) at once.
type Lanes = [i32; SIDE];

/// Transforms the quantised coefficients of a block to samples at the start of `plane`, line by line `stride` apart.
#[inline(always)]
pub(super) fn inverse(
    coefficients: &[i16; BLOCK],
    table: &[u16; BLOCK],
    plane: &mut [u8],
    stride: usize,
) {
    let (lines, _) = coefficients.as_chunks::<SIDE>();
    let (steps, _) = table.as_chunks::<SIDE>();
    let flat = lines[1..].iter().all(|line| i64_of(line) == [0, 0])
        && lines[0][1..].iter().all(|value| *value == 0);
    if flat {
        let level = dequantise(lines[0][0], steps[0][0]) << KEPT_BITS;
        let level = round(level, KEPT_BITS + 3);
        for line in plane.chunks_mut(stride).take(SIDE) {
            line[..SIDE].fill(to_sample(level));
        }
        return;
    }
    let block: [Lanes; SIDE] = std::array::from_fn(|line| {
        std::array::from_fn(|column| dequantise(lines[line][column], steps[line][column]))
    });
    let columns = pass(&block, BITS - KEPT_BITS);
    let rows = pass(&transpose(&columns), BITS + KEPT_BITS + 3);
    let samples = transpose(&rows);
    for (line, samples) in plane.chunks_mut(stride).zip(&samples) {
        let bytes: [u8; SIDE] = std::array::from_fn(|column| to_sample(samples[column]));
        line[..SIDE].copy_from_slice(&bytes);
    }
}

/// Two words that are 0 exactly if the line is.
#[inline(always)]
fn i64_of(line: &[i16; SIDE]) -> [i32; 2] {
    let or = |values: &[i16]| values.iter().fold(0, |sum, value| sum | i32::from(*value));
    [or(&line[..4]), or(&line[4..])]
}

/// In 16 bits, as the library's vector code does, so that coefficients beyond any real image agree too.
#[inline(always)]
fn dequantise(coefficient: i16, step: u16) -> i32 {
    i32::from(coefficient.wrapping_mul(step as i16))
}

#[inline(always)]
fn to_sample(level: i32) -> u8 {
    (level + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn round(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// One dimension: element `k` of each lane's eight is `input[k]`.
#[inline(always)]
fn pass(input: &[Lanes; SIDE], bits: u32) -> [Lanes; SIDE] {
    let mut output = [[0; SIDE]; SIDE];
    for lane in 0..SIDE {
        let at = |k: usize| input[k][lane];
        // The even part.
        let shared = (at(2) + at(6)) * 4433;
        let low = shared - at(6) * 15137;
        let high = shared + at(2) * 6270;
        let sum = (at(0) + at(4)) << BITS;
        let difference = (at(0) - at(4)) << BITS;
        let even = [sum + high, difference + low, difference - low, sum - high];
        // The odd part.
        let (a, b, c, d) = (at(7), at(5), at(3), at(1));
        let turn = (a + c + b + d) * 9633;
        let outer = (a + d) * -7373;
        let inner = (b + c) * -20995;
        let first = (a + c) * -16069 + turn;
        let second = (b + d) * -3196 + turn;
        let odd = [
            d * 12299 + outer + second,
            c * 25172 + inner + first,
            b * 16819 + inner + second,
            a * 2446 + outer + first,
        ];
        for k in 0..4 {
            output[k][lane] = round(even[k] + odd[k], bits);
            output[SIDE - 1 - k][lane] = round(even[k] - odd[k], bits);
        }
    }
    output
}

#[inline(always)]
fn transpose(block: &[Lanes; SIDE]) -> [Lanes; SIDE] {
    std::array::from_fn(|line| std::array::from_fn(|column| block[column][line]))
}
