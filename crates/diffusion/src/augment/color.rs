//! Colour transformations: one affine map of RGB an image.

use tch::{Device, Kind, Tensor};

use super::draws::{Gated, Labels};
use super::matrix::{Matrix, identity, product};
use super::options::AugmentOptions;
use crate::DiffusionError;
use crate::transfer::bring;

const BRIGHTNESS_STD: f64 = 0.2;
const CONTRAST_STD: f64 = 0.5;

/// Transforms the colours of images `[n, 3, h, w]`; leaves other images alone if no transformation is asked for.
pub(super) fn transform(
    images: &Tensor,
    options: &AugmentOptions,
    draws: &mut Gated<'_>,
    labels: &mut Labels,
) -> Result<Tensor, DiffusionError> {
    let size = images.size();
    let any = [
        options.brightness,
        options.contrast,
        options.lumaflip,
        options.hue,
        options.saturation,
    ]
    .iter()
    .any(|&multiplier| multiplier > 0.0);
    if !any {
        return Ok(images.shallow_clone());
    }
    if size[1] != 3 {
        return Err(DiffusionError::ColorChannels(size[1]));
    }
    let luma = along_luma();
    let mut maps = vec![identity::<4>(); size[0] as usize];
    let mut apply = |transformation: &dyn Fn(usize) -> Matrix<4>| {
        for (index, map) in maps.iter_mut().enumerate() {
            *map = product(&transformation(index), map);
        }
    };
    if options.brightness > 0.0 {
        let values = draws.normal(options.brightness);
        labels.push(&values);
        apply(&|index| {
            let mut map = identity();
            for row in map.iter_mut().take(3) {
                row[3] = values[index] * BRIGHTNESS_STD;
            }
            map
        });
    }
    if options.contrast > 0.0 {
        let values = draws.normal(options.contrast);
        labels.push(&values);
        apply(&|index| {
            let factor = (values[index] * CONTRAST_STD).exp2();
            colors(|row, col| if row == col { factor } else { 0.0 })
        });
    }
    if options.lumaflip > 0.0 {
        let coins = draws.coin(options.lumaflip);
        labels.push(&coins);
        apply(&|index| {
            let mut map = identity();
            for (row, values) in map.iter_mut().enumerate() {
                for (col, value) in values.iter_mut().enumerate() {
                    *value -= 2.0 * coins[index] * luma[row][col];
                }
            }
            map
        });
    }
    if options.hue > 0.0 {
        let angles = draws.angle(options.hue);
        labels.push_angle(&angles);
        apply(&|index| about_luma(angles[index]));
    }
    if options.saturation > 0.0 {
        let values = draws.normal(options.saturation);
        labels.push(&values);
        apply(&|index| {
            let factor = values[index].exp2();
            colors(|row, col| {
                let whole = if row == col { 1.0 } else { 0.0 };
                luma[row][col] + (whole - luma[row][col]) * factor
            })
        });
    }
    let flat: Vec<f64> = maps.iter().flat_map(|map| map[..3].concat()).collect();
    let maps = Tensor::from_slice(&flat)
        .reshape([-1, 3, 4])
        .to_kind(Kind::Float);
    let maps = bring(&maps, images.device());
    let pixels = images.reshape([size[0], 3, -1]);
    let transformed = match images.device() {
        Device::Cpu => maps.narrow(2, 0, 3).matmul(&pixels) + maps.narrow(2, 3, 1),
        _ => mixed(&maps, &pixels),
    };
    Ok(transformed.reshape(&size))
}

/// The maps `[n, 3, 4]` of colours `[n, 3, pixels]`, pixel by pixel: on a GPU, where a product of matrices may be in TF32.
fn mixed(maps: &Tensor, pixels: &Tensor) -> Tensor {
    let mut mixed = maps.narrow(2, 3, 1).expand_as(pixels);
    for channel in 0..3 {
        mixed = mixed.addcmul(&maps.narrow(2, channel, 1), &pixels.narrow(1, channel, 1));
    }
    mixed
}

/// A map of the colours alone, from its 3 × 3 entries.
fn colors(entry: impl Fn(usize, usize) -> f64) -> Matrix<4> {
    std::array::from_fn(|row| {
        std::array::from_fn(|col| match (row, col) {
            (3, 3) => 1.0,
            (3, _) | (_, 3) => 0.0,
            _ => entry(row, col),
        })
    })
}

/// The projection on the luma axis (1, 1, 1) / √3.
fn along_luma() -> Matrix<4> {
    let mut projection = colors(|_, _| 1.0 / 3.0);
    projection[3][3] = 0.0;
    projection
}

/// The rotation of the colours about the luma axis (Rodrigues' formula).
fn about_luma(angle: f64) -> Matrix<4> {
    let (sin, cos) = angle.sin_cos();
    let axis = 1.0 / 3.0_f64.sqrt();
    colors(|row, col| {
        let along = (1.0 - cos) / 3.0;
        match (3 + col - row) % 3 {
            0 => along + cos,
            1 => along - axis * sin,
            _ => along + axis * sin,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_mixed_by_pixel_are_those_of_the_product() {
        let numbers = |count: i64| Tensor::arange(count, (Kind::Float, Device::Cpu)).sin();
        let (maps, pixels) = (
            numbers(24).reshape([2, 3, 4]),
            numbers(2 * 3 * 20).reshape([2, 3, 20]),
        );
        let product = maps.narrow(2, 0, 3).matmul(&pixels) + maps.narrow(2, 3, 1);
        assert!(mixed(&maps, &pixels).allclose(&product, 1e-6, 1e-6, false));
    }
}
