//! Warping of images.

use tch::{Device, Kind, Tensor};

use super::draws::{Gated, Labels};
use super::matrix::{Matrix, identity, product, rotate, scale, translate};
use super::options::AugmentOptions;
use super::wavelet::{CENTRE_SHIFT, SUPPORT, double, filter, halve};
use crate::transfer::bring;

/// Standard deviation of the logarithm (base 2) of a scaling, isotropic or not.
const SCALE_STD: f64 = 0.2;
/// Share of the anisotropic scalings whose axis is turned.
const ANISO_ROTATE_PROBABILITY: f64 = 0.5;
/// Standard deviation of a translation, as a share of the image.
const TRANSLATE_STD: f64 = 0.125;

/// Pixels of images that a GPU warps at once: 64 images of 64×64. Doubled, with their margins, they are up to 36 times as
/// many, which in three channels takes 0.2 GB at most, however many images a step has.
const PIXELS_AT_ONCE: i64 = 1 << 18;

/// What margins are multiples of on a GPU. They follow from the draws of a step, and cuDNN keeps a plan of each
/// convolution for every size that it meets.
const MARGIN_STEP: u64 = 8;

/// Scales, rotates, stretches and shifts the images in one warp.
pub(super) fn warp(
    images: &Tensor,
    options: &AugmentOptions,
    draws: &mut Gated<'_>,
    labels: &mut Labels,
) -> Tensor {
    let size = images.size();
    let (count, height, width) = (size[0] as usize, size[2], size[3]);
    // Each matrix takes a place in the warped image to the place in the given one that its colour comes from;
    // places are pixels from the image's centre.
    let mut origins = vec![identity::<3>(); count];
    let mut apply = |transformation: &dyn Fn(usize) -> Matrix<3>| {
        for (index, origin) in origins.iter_mut().enumerate() {
            *origin = product(origin, &transformation(index));
        }
    };
    let factor = |value: f64| (SCALE_STD * value).exp2();
    if options.scale > 0.0 {
        let values = draws.normal(options.scale);
        labels.push(&values);
        apply(&|index| {
            let shrink = 1.0 / factor(values[index]);
            scale(shrink, shrink)
        });
    }
    if options.rotate_frac > 0.0 {
        let angles = draws.angle(options.rotate_frac);
        labels.push_angle(&angles);
        apply(&|index| rotate(angles[index]));
    }
    if options.aniso > 0.0 {
        let (values, angles) = draws.normal_and_angle(options.aniso, ANISO_ROTATE_PROBABILITY);
        let part = |of: fn(f64) -> f64| -> Vec<f64> {
            values
                .iter()
                .zip(&angles)
                .map(|(value, &angle)| value * of(angle))
                .collect()
        };
        labels.push(&part(f64::cos));
        labels.push(&part(f64::sin));
        apply(&|index| {
            let stretch = factor(values[index]);
            let squeezed = product(&scale(1.0 / stretch, stretch), &rotate(angles[index]));
            product(&rotate(-angles[index]), &squeezed)
        });
    }
    if options.translate_frac > 0.0 {
        let (x, y) = draws.normal_pair(options.translate_frac);
        labels.push(&x);
        labels.push(&y);
        apply(&|index| {
            translate(
                -x[index] * TRANSLATE_STD * width as f64,
                -y[index] * TRANSLATE_STD * height as f64,
            )
        });
    }
    let any = [
        options.scale,
        options.rotate_frac,
        options.aniso,
        options.translate_frac,
    ]
    .iter()
    .any(|&multiplier| multiplier > 0.0);
    if any {
        resample(images, &origins)
    } else {
        images.shallow_clone()
    }
}

/// Renders every image again with the colours from the given places, reflected beyond the borders.
fn resample(images: &Tensor, origins: &[Matrix<3>]) -> Tensor {
    let size = images.size();
    let (at_once, margin_step) = match images.device() {
        // All: how libtorch computes a convolution there may depend on their number, and its bits on that.
        Device::Cpu => (size[0], 1),
        _ => (
            i64::max(PIXELS_AT_ONCE / (size[2] * size[3]), 1),
            MARGIN_STEP,
        ),
    };
    resample_by(images, origins, at_once, margin_step)
}

/// The same, of so many images at once. Margins are those that all of them need, in steps of `margin_step`: wider ones
/// change an image by rounding, and at a corner whose filter reaches beyond its margin by what lies there.
fn resample_by(images: &Tensor, origins: &[Matrix<3>], at_once: i64, margin_step: u64) -> Tensor {
    let size = images.size();
    let (channels, height, width) = (size[1], size[2], size[3]);
    let [left, right, top, bottom] = margins(origins, height, width, margin_step);
    let padded_height = (2 * (height + top + bottom)) as f64;
    let padded_width = (2 * (width + left + right)) as f64;

    // The warped image is made doubled and with a border, so that halving sees no edge.
    let border = 2 * SUPPORT;
    let (warped_height, warped_width) = (2 * height + 2 * border, 2 * width + 2 * border);
    let in_doubled = translate(-CENTRE_SHIFT, -CENTRE_SHIFT);
    let from_doubled = translate(CENTRE_SHIFT, CENTRE_SHIFT);
    let theta: Vec<f64> = origins
        .iter()
        .flat_map(|origin| {
            // Padding moves the centre by half of what the sides differ; a doubled pixel is half a pixel.
            let recentred = product(
                &translate((left - right) as f64 / 2.0, (top - bottom) as f64 / 2.0),
                origin,
            );
            let doubled = [
                &scale(2.0 / padded_width, 2.0 / padded_height),
                &in_doubled,
                &scale(2.0, 2.0),
                &recentred,
                &scale(0.5, 0.5),
                &from_doubled,
                &scale(warped_width as f64 / 2.0, warped_height as f64 / 2.0),
            ]
            .into_iter()
            .fold(identity(), |left, right| product(&left, right));
            [doubled[0], doubled[1]].concat()
        })
        .collect();
    let theta = Tensor::from_slice(&theta)
        .reshape([-1, 2, 3])
        .to_kind(Kind::Float);
    let theta = bring(&theta, images.device());
    let filter = filter(images.device());
    let warped: Vec<Tensor> = images
        .split(at_once, 0)
        .iter()
        .zip(theta.split(at_once, 0))
        .map(|(images, theta)| {
            let padded = images.reflection_pad2d([left, right, top, bottom]);
            let doubled = double(&padded, &filter);
            let shape = [images.size()[0], channels, warped_height, warped_width];
            let grid = match images.device() {
                Device::Cpu => Tensor::affine_grid_generator(&theta, shape, false),
                _ => places(&theta, warped_height, warped_width),
            };
            // Bilinear, zero outside.
            halve(&doubled.grid_sampler(&grid, 0, 0, false), &filter, border)
        })
        .collect();
    Tensor::cat(&warped, 0)
}

/// The places `[n, height, width, 2]` that maps `theta` `[n, 2, 3]` take the pixels to, pixel by pixel.
///
/// On a GPU, where libtorch multiplies matrices: with TF32 a place would be off by a tenth of a pixel.
fn places(theta: &Tensor, height: i64, width: i64) -> Tensor {
    // Centres of pixels, in units of half the image.
    let centres = |length: i64| {
        let options = (Kind::Float, theta.device());
        (Tensor::arange(length, options) * 2.0 + (1 - length)) / length
    };
    let x = centres(width).reshape([1, 1, width, 1]);
    let y = centres(height).reshape([1, height, 1, 1]);
    let column = |index: i64| theta.select(2, index).reshape([-1, 1, 1, 2]);
    column(0) * x + column(1) * y + column(2)
}

/// Pixels to reflect on the left, right, top and bottom, so that all images of the batch find their colours:
/// as far as their corners reach and the filter around them, rounded up to a multiple of `step`, at most what one
/// reflection gives.
fn margins(origins: &[Matrix<3>], height: i64, width: i64, step: u64) -> [i64; 4] {
    let (x_end, y_end) = ((width - 1) as f64 / 2.0, (height - 1) as f64 / 2.0);
    let mut reach = [0.0_f64; 4];
    for origin in origins {
        for (x, y) in [
            (-x_end, -y_end),
            (x_end, -y_end),
            (x_end, y_end),
            (-x_end, y_end),
        ] {
            let [from_x, from_y] =
                [0, 1].map(|row: usize| origin[row][0] * x + origin[row][1] * y + origin[row][2]);
            for (reach, place) in reach.iter_mut().zip([-from_x, from_x, -from_y, from_y]) {
                *reach = reach.max(place);
            }
        }
    }
    let [left, right, top, bottom] = reach;
    let margin = |reach: f64, end: f64, side: i64| {
        let least = (reach - end + SUPPORT as f64)
            .clamp(0.0, (side - 1) as f64)
            .ceil() as u64;
        i64::min(least.next_multiple_of(step) as i64, side - 1)
    };
    [
        margin(left, x_end, width),
        margin(right, x_end, width),
        margin(top, y_end, height),
        margin(bottom, y_end, height),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many smooth images of 24 × 24, no two alike.
    fn smooth(count: i64) -> Tensor {
        let options = (Kind::Float, Device::Cpu);
        let ramp = Tensor::arange(24, options) / 4.0;
        let phase = Tensor::arange(count, options).reshape([count, 1, 1, 1]);
        let rows = (ramp.reshape([1, 1, 24, 1]) + phase).sin();
        (rows * ramp.sin().reshape([1, 1, 1, 24])).contiguous()
    }

    fn largest(tensor: &Tensor) -> f64 {
        tensor.abs().max().double_value(&[])
    }

    #[test]
    fn the_identity_and_whole_shifts_keep_smooth_images() {
        let image = smooth(1);
        let same = resample(&image, &[identity()]);
        assert!(largest(&(same - &image)) < 0.01);
        // Colours come from two columns to the left: the image moves to the right.
        let moved = resample(&image, &[translate(-2.0, 0.0)]);
        let difference = moved.narrow(3, 2, 22) - image.narrow(3, 0, 22);
        assert!(largest(&difference) < 0.01);
    }

    /// The origins of five images, each turned and shifted in its own way.
    fn turned() -> [Matrix<3>; 5] {
        std::array::from_fn(|index| {
            let index = index as f64;
            product(&rotate(0.3 * index), &translate(index - 2.0, 1.5))
        })
    }

    #[test]
    fn images_warped_in_parts_are_those_warped_at_once() {
        let images = smooth(5);
        let at_once = resample(&images, &turned());
        assert!(largest(&(&at_once - &images)) > 0.1);
        let in_parts = resample_by(&images, &turned(), 2, 1);
        assert!(largest(&(at_once - in_parts)) < 1e-5);
    }

    #[test]
    fn places_are_those_of_the_product_of_matrices() {
        let values: Vec<f32> = (0..12).map(|index| (index as f32 * 1.7).sin()).collect();
        let theta = Tensor::from_slice(&values).reshape([2, 2, 3]);
        let places = places(&theta, 10, 14);
        let generated = Tensor::affine_grid_generator(&theta, [2, 3, 10, 14], false);
        assert_eq!(places.size(), [2, 10, 14, 2]);
        assert!(largest(&(places - generated)) < 1e-6);
    }

    #[test]
    fn wider_margins_change_nothing_inside() {
        let here = [identity()];
        assert_eq!(margins(&here, 24, 64, 1), [6; 4]);
        assert_eq!(margins(&here, 24, 64, 8), [8; 4]);
        let far = [translate(-40.0, 0.0)];
        assert_eq!(margins(&far, 24, 64, 8), [48, 0, 8, 8]);
        assert_eq!(margins(&far, 24, 32, 8), [31, 0, 8, 8]);

        let images = smooth(5);
        let inside = |images: &Tensor| images.narrow(2, 4, 16).narrow(3, 4, 16);
        let [narrow, wide] = [1, 8].map(|step| inside(&resample_by(&images, &turned(), 5, step)));
        assert!(largest(&(narrow - wide)) < 1e-4);
    }
}
