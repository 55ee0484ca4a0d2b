//! Blitting: pixels are moved but not changed.
//!
//! Source: StyleGAN2-ADA (arXiv 2006.06676), Appendix B, "pixel blitting": mirroring, quarter turns, whole shifts.

use tch::{Kind, Tensor};

use super::AugmentOptions;
use super::draws::{Gated, Labels};
use crate::DiffusionError;
use crate::transfer::bring;

/// Largest shift as a share of the image.
const TRANSLATE_MAX: f64 = 0.125;

/// Mirrors, turns and shifts the images.
///
/// # Errors
/// [`DiffusionError::QuarterTurns`] when images that are not square are to be turned.
pub(super) fn blit(
    images: &Tensor,
    options: &AugmentOptions,
    draws: &mut Gated<'_>,
    labels: &mut Labels,
) -> Result<Tensor, DiffusionError> {
    let mut moved = images.shallow_clone();
    for (multiplier, dimension) in [(options.xflip, 3), (options.yflip, 2)] {
        if multiplier > 0.0 {
            let coins = draws.coin(multiplier);
            labels.push(&coins);
            moved = moved
                .flip([dimension])
                .where_self(&chosen(&coins, 1.0, images), &moved);
        }
    }
    if options.rotate_int > 0.0 {
        let size = images.size();
        if size[2] != size[3] {
            return Err(DiffusionError::QuarterTurns {
                height: size[2],
                width: size[3],
            });
        }
        let turns = draws.quarter_turns(options.rotate_int);
        let angles: Vec<f64> = turns
            .iter()
            .map(|turns| turns * std::f64::consts::FRAC_PI_2)
            .collect();
        labels.push_angle(&angles);
        let unturned = moved.shallow_clone();
        for count in 1..4_i64 {
            moved = unturned
                .rot90(count, [2, 3])
                .where_self(&chosen(&turns, count as f64, images), &moved);
        }
    }
    if options.translate_int > 0.0 {
        let (x, y) = draws.uniform_pair(options.translate_int);
        for (shares, dimension) in [(x, 3), (y, 2)] {
            // A share of 1 is the largest shift; the label tells the whole pixels that became of it.
            let largest = TRANSLATE_MAX * images.size()[dimension] as f64;
            let shifts: Vec<f64> = shares
                .iter()
                .map(|share| (share * largest).round())
                .collect();
            let told: Vec<f64> = shifts.iter().map(|shift| shift / largest).collect();
            labels.push(&told);
            moved = shift(&moved, &shifts, dimension as i64);
        }
    }
    Ok(moved)
}

/// Which images have this value, `[n, 1, 1, 1]`.
fn chosen(values: &[f64], value: f64, images: &Tensor) -> Tensor {
    let chosen = (Tensor::from_slice(values) - value).abs().lt(0.5);
    bring(&chosen, images.device()).reshape([-1, 1, 1, 1])
}

/// Shifts each image by its number of pixels along a dimension, reflected at the borders.
fn shift(images: &Tensor, shifts: &[f64], dimension: i64) -> Tensor {
    let size = images.size();
    let side = size[dimension as usize];
    let period = i64::max(2 * (side - 1), 1);
    let sources: Vec<i64> = shifts
        .iter()
        .flat_map(|&shift| (0..side).map(move |place| place - shift as i64))
        .map(|place| {
            let place = place.rem_euclid(period);
            i64::min(place, period - place)
        })
        .collect();
    let mut shape = [size[0], 1, 1, 1];
    shape[dimension as usize] = side;
    let sources = Tensor::from_slice(&sources).to_kind(Kind::Int64);
    let sources = bring(&sources, images.device())
        .reshape(shape)
        .expand(&size, false);
    images.gather(dimension, &sources, false)
}

#[cfg(test)]
mod tests {
    use super::super::draws::AugmentDraws;
    use super::*;
    use tch::Device;

    /// The same answer to every question of a kind; all gates open.
    struct Fixed {
        uniform: Vec<f64>,
        integers: Vec<f64>,
    }

    impl AugmentDraws for Fixed {
        fn uniform(&mut self, count: usize) -> Vec<f64> {
            if count == self.uniform.len() {
                self.uniform.clone()
            } else {
                vec![0.0; count]
            }
        }

        fn normal(&mut self, count: usize) -> Vec<f64> {
            vec![0.0; count]
        }

        fn integers(&mut self, _bound: i64, _count: usize) -> Vec<f64> {
            self.integers.clone()
        }
    }

    fn run(options: &AugmentOptions, fixed: &mut Fixed, images: &Tensor) -> (Tensor, Tensor) {
        let count = images.size()[0] as usize;
        let mut labels = Labels::default();
        let moved = blit(
            images,
            options,
            &mut Gated::new(fixed, count, 1.0),
            &mut labels,
        )
        .unwrap();
        let labels = labels.into_tensor(count);
        assert_eq!(labels.size()[1], options.label_dim());
        (moved, labels)
    }

    #[test]
    fn quarter_turns_and_shifts_move_pixels_whole() {
        let image = Tensor::arange(64, (Kind::Float, Device::Cpu)).reshape([1, 1, 8, 8]);
        let images = image.expand([4, 1, 8, 8], false);
        let options = AugmentOptions {
            rotate_int: 1.0,
            ..AugmentOptions::default()
        };
        let mut fixed = Fixed {
            uniform: Vec::new(),
            integers: vec![0.0, 1.0, 2.0, 3.0],
        };
        let (turned, labels) = run(&options, &mut fixed, &images);
        for turns in 0..4 {
            let expected = image.rot90(turns, [2, 3]);
            assert!(turned.narrow(0, turns, 1).equal(&expected), "{turns}");
        }
        assert!((labels.double_value(&[2, 0]) + 2.0).abs() < 1e-12);
        assert!((labels.double_value(&[1, 1]) - 1.0).abs() < 1e-12);

        // Eight columns: at most one pixel. Two images: to the right and down; to the left and up.
        let options = AugmentOptions {
            translate_int: 1.0,
            ..AugmentOptions::default()
        };
        let mut fixed = Fixed {
            uniform: vec![0.9, 0.1, 0.9, 0.1],
            integers: Vec::new(),
        };
        let (shifted, labels) = run(&options, &mut fixed, &images.narrow(0, 0, 2));
        let inner = |tensor: &Tensor, index, row, col| {
            tensor
                .narrow(0, index, 1)
                .narrow(2, row, 7)
                .narrow(3, col, 7)
        };
        assert!(inner(&shifted, 0, 1, 1).equal(&inner(&images, 0, 0, 0)));
        assert!(inner(&shifted, 1, 0, 0).equal(&inner(&images, 0, 1, 1)));
        // Reflected, not repeated: the column before the first is the second.
        assert!(
            (shifted.double_value(&[0, 0, 1, 0]) - image.double_value(&[0, 0, 0, 1])).abs() < 1e-12
        );
        assert_eq!(
            Vec::<f64>::try_from(labels.reshape([-1])).unwrap(),
            [1.0, 1.0, -1.0, -1.0]
        );
    }

    #[test]
    fn images_that_are_not_square_do_not_turn() {
        let options = AugmentOptions {
            rotate_int: 1.0,
            ..AugmentOptions::default()
        };
        let mut fixed = Fixed {
            uniform: Vec::new(),
            integers: vec![1.0],
        };
        let images = Tensor::zeros([1, 3, 4, 8], (Kind::Float, Device::Cpu));
        let mut gated = Gated::new(&mut fixed, 1, 1.0);
        let refused = blit(&images, &options, &mut gated, &mut Labels::default());
        assert!(matches!(refused, Err(DiffusionError::QuarterTurns { .. })));
    }
}
