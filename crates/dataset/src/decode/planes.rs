//! From coefficients to pixels: the arithmetic of libjpeg-turbo after its entropy decoder, to the last bit.
//!
//! The library has it as vector code too, in an assembler's language that a bare machine cannot read; its C code takes
//! three times as long as these loops. They cover what cameras and tools write; the rest is left to the library.
#![expect(
    clippy::inline_always,
    reason = "what is compiled for wider vectors must lie within the function that is"
)]

use super::dct::inverse;
use super::libjpeg::{BLOCK, Component};
use crate::simd::{Kernel, widest};

const SIDE: usize = 8;

/// The samples of one component.
#[derive(Debug, Default)]
pub(super) struct Plane {
    samples: Vec<u8>,
    /// Samples from one line to the next, a multiple of the block's side.
    stride: usize,
    /// Samples of a line, and lines, that belong to the image.
    width: usize,
    height: usize,
    /// How many pixels share a sample: (1, 1), (2, 1), (1, 2) or (2, 2).
    shared: (usize, usize),
}

impl Plane {
    /// An empty plane of a component of an image of `width` x `height` pixels; `finest` are the largest sampling
    /// factors among its components. None where the factors are none that [`to_rgb`] knows.
    pub(super) fn of(
        component: &Component,
        finest: (usize, usize),
        width: usize,
        height: usize,
    ) -> Option<Self> {
        let (horizontal, vertical) = (component.horizontal, component.vertical);
        let shared = (finest.0 / horizontal, finest.1 / vertical);
        let exact = shared.0 * horizontal == finest.0 && shared.1 * vertical == finest.1;
        if !exact || shared.0 > 2 || shared.1 > 2 {
            return None;
        }
        let stride = component.width_in_blocks * SIDE;
        Some(Self {
            samples: vec![0; stride * component.height_in_blocks * SIDE],
            stride,
            width: width.div_ceil(shared.0),
            height: height.div_ceil(shared.1),
            shared,
        })
    }

    /// Transforms a line of blocks to samples.
    pub(super) fn fill(&mut self, line: usize, blocks: &[[i16; BLOCK]], table: &[u16; BLOCK]) {
        let stride = self.stride;
        let samples = &mut self.samples[line * stride * SIDE..][..stride * SIDE];
        widest(LineOfBlocks {
            blocks,
            table,
            samples,
            stride,
        });
    }

    /// The plane's own samples, without the blocks' surplus.
    pub(super) fn into_samples(mut self) -> Vec<u8> {
        if self.stride != self.width {
            for line in 1..self.height {
                let start = line * self.stride;
                self.samples
                    .copy_within(start..start + self.width, line * self.width);
            }
        }
        self.samples.truncate(self.width * self.height);
        self.samples
    }

    fn line(&self, line: usize) -> &[u8] {
        &self.samples[line * self.stride..][..self.width]
    }
}

struct LineOfBlocks<'a> {
    blocks: &'a [[i16; BLOCK]],
    table: &'a [u16; BLOCK],
    samples: &'a mut [u8],
    stride: usize,
}

impl Kernel for LineOfBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (number, block) in self.blocks.iter().enumerate() {
            let samples = &mut self.samples[number * SIDE..];
            inverse(block, self.table, samples, self.stride);
        }
    }
}

/// Pixels of an image of luma and two chroma planes.
///
/// # Shapes
/// - returns: `[height, width, 3]`, u8, RGB
pub(super) fn to_rgb(planes: &[Plane; 3], width: usize, height: usize) -> Vec<u8> {
    let mut pixels = vec![0; width * height * 3];
    widest(ToRgb {
        planes,
        width,
        pixels: &mut pixels,
    });
    pixels
}

struct ToRgb<'a> {
    planes: &'a [Plane; 3],
    width: usize,
    pixels: &'a mut [u8],
}

impl Kernel for ToRgb<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self {
            planes,
            width,
            pixels,
        } = self;
        let mut lines: [Vec<u8>; 3] = [(); 3].map(|()| vec![0; 2 * width.div_ceil(2)]);
        let mut sums = vec![0; width];
        for (number, pixels) in pixels.chunks_exact_mut(width * 3).enumerate() {
            for (plane, line) in planes.iter().zip(&mut lines) {
                spread(plane, number, &mut sums, line);
            }
            let [luma, blue, red] = &lines;
            let (pixels, _) = pixels.as_chunks_mut::<3>();
            for (pixel, ((y, cb), cr)) in pixels.iter_mut().zip(luma.iter().zip(blue).zip(red)) {
                *pixel = color(*y, *cb, *cr);
            }
        }
    }
}

/// A line of the image's width out of a plane of fewer samples, by the library's triangular filter: each pixel is
/// three parts of the nearer sample and one of the farther, in each direction that is halved.
#[inline(always)]
fn spread(plane: &Plane, number: usize, sums: &mut [u16], line: &mut [u8]) {
    let across = plane.width;
    match plane.shared {
        (1, 1) => line[..across].copy_from_slice(plane.line(number)),
        // The filter needs more than two samples; of fewer each is repeated.
        (2, down) if across <= 2 => {
            for (pair, sample) in line.chunks_exact_mut(2).zip(plane.line(number / down)) {
                pair.fill(*sample);
            }
        }
        (2, 1) => {
            let samples = plane.line(number);
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum = u16::from(*sample);
            }
            widen::<2>(&sums[..across], [1, 2], line);
        }
        (shared, _) => {
            let near = number / 2;
            // The upper pixel of a pair leans on the sample above, the lower one on the sample below.
            let far = if number.is_multiple_of(2) {
                near.saturating_sub(1)
            } else {
                usize::min(near + 1, plane.height - 1)
            };
            let (near, far) = (plane.line(near), plane.line(far));
            for (sum, (near, far)) in sums.iter_mut().zip(near.iter().zip(far)) {
                *sum = 3 * u16::from(*near) + u16::from(*far);
            }
            if shared == 2 {
                widen::<4>(&sums[..across], [8, 7], line);
            } else {
                let half = if number.is_multiple_of(2) { 1 } else { 2 };
                for (pixel, sum) in line.iter_mut().zip(&sums[..across]) {
                    *pixel = ((sum + half) >> 2) as u8;
                }
            }
        }
    }
}

/// Two pixels out of each sample, of which there are at least three; `halves` rounds the left and the right one.
#[inline(always)]
fn widen<const BITS: u32>(sums: &[u16], halves: [u16; 2], line: &mut [u8]) {
    let [left, right] = halves;
    let last = sums.len() - 1;
    let (pairs, _) = line.as_chunks_mut::<2>();
    let pairs = &mut pairs[..sums.len()];
    for ((pair, before), (here, after)) in pairs[1..last]
        .iter_mut()
        .zip(sums)
        .zip(sums[1..].iter().zip(&sums[2..]))
    {
        *pair = [
            ((3 * here + before + left) >> BITS) as u8,
            ((3 * here + after + right) >> BITS) as u8,
        ];
    }
    // At the border the farther sample is the nearer one again.
    pairs[0] = [
        ((4 * sums[0] + left) >> BITS) as u8,
        ((3 * sums[0] + sums[1] + right) >> BITS) as u8,
    ];
    pairs[last] = [
        ((3 * sums[last] + sums[last - 1] + left) >> BITS) as u8,
        ((4 * sums[last] + right) >> BITS) as u8,
    ];
}

/// Luma and chroma to RGB, in 16 fractional bits.
#[inline(always)]
fn color(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let sample = |value: i32| value.clamp(0, 255) as u8;
    [
        sample(y + ((91_881 * cr + HALF) >> 16)),
        sample(y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16)),
        sample(y + ((116_130 * cb + HALF) >> 16)),
    ]
}
