//! Doubling and halving of images with the sym6 wavelet, which keeps warped images free of aliasing.

use tch::{Device, Kind, Tensor};

use crate::transfer::bring;

/// The scaling filter of the symlet of order 6 (Daubechies 1992, Table 6.3); it sums to √2.
const SYM6: [f64; 12] = [
    0.015_404_109_327_027_373,
    0.003_490_712_084_217_470_2,
    -0.117_990_111_148_190_57,
    -0.048_311_742_585_633,
    0.491_055_941_926_746_7,
    0.787_641_141_030_194,
    0.337_929_421_727_621_8,
    -0.072_637_522_786_462_52,
    -0.021_060_292_512_300_564,
    0.044_724_901_770_665_78,
    0.001_767_711_864_242_803_6,
    -0.007_800_708_325_034_148,
];

/// Taps of the filter.
const TAPS: i64 = SYM6.len() as i64;

/// Pixels of the image beyond its border that a doubled and halved pixel may see.
pub(super) const SUPPORT: i64 = TAPS / 2;

/// Twice the width and height by [`filter`]: `[n, c, h, w]` to `[n, c, 2h, 2w]`, both grids with the same centre
/// but for [`CENTRE_SHIFT`].
pub(super) fn double(images: &Tensor, filter: &Tensor) -> Tensor {
    let size = images.size();
    let planes = images.reshape([-1, 1, size[2], size[3]]);
    // A transposed convolution spreads each pixel by the filter: output 2j + k - 5 takes tap k of pixel j.
    let padding = TAPS / 2 - 1;
    let along = |planes: &Tensor, kernel: &Tensor, vertical: bool| {
        let pair = |along: i64, across: i64| {
            if vertical {
                [along, across]
            } else {
                [across, along]
            }
        };
        planes.conv_transpose2d(
            kernel,
            None::<&Tensor>,
            pair(2, 1),
            pair(padding, 0),
            [0, 0],
            1,
            [1, 1],
        )
    };
    let filter = filter * 2.0;
    let doubled = along(&planes, &filter.reshape([1, 1, 1, TAPS]), false);
    let doubled = along(&doubled, &filter.reshape([1, 1, TAPS, 1]), true);
    doubled.reshape([size[0], size[1], 2 * size[2], 2 * size[3]])
}

/// Half the width and height, by [`filter`], of an image with a border of `border` pixels to be left out.
pub(super) fn halve(images: &Tensor, filter: &Tensor, border: i64) -> Tensor {
    let size = images.size();
    let (height, width) = (size[2] - 2 * border, size[3] - 2 * border);
    // Output i sees the pixels 2i - 5 … 2i + 6 inside the border.
    let start = border - (TAPS / 2 - 1);
    let planes = images
        .reshape([-1, 1, size[2], size[3]])
        .narrow(2, start, height + TAPS - 2)
        .narrow(3, start, width + TAPS - 2);
    let halved = planes
        .conv2d(
            &filter.reshape([1, 1, 1, TAPS]),
            None::<&Tensor>,
            [1, 2],
            [0, 0],
            [1, 1],
            1,
        )
        .conv2d(
            &filter.reshape([1, 1, TAPS, 1]),
            None::<&Tensor>,
            [2, 1],
            [0, 0],
            [1, 1],
            1,
        );
    let half = |length: i64| length / 2;
    halved.reshape([size[0], size[1], half(height), half(width)])
}

/// How far, in doubled pixels, the filter's centre of mass (its sixth tap) lies from the middle of its taps:
/// the warp turns about the pixels' true places only if it counts this in.
pub(super) const CENTRE_SHIFT: f64 = 0.5;

/// The filter with sum one, f32.
pub(super) fn filter(device: Device) -> Tensor {
    let taps = Tensor::from_slice(&SYM6);
    let sum: f64 = SYM6.iter().sum();
    bring(&(taps / sum).to_kind(Kind::Float), device)
}
