//! Blitting: pixels are moved but not changed.
//!
//! Source: EDM (arXiv 2206.00364), Appendix F.2, after StyleGAN2-ADA (arXiv 2006.06676), Appendix B, "pixel blitting":
//! mirroring, quarter turns, whole shifts. Recorded numbers of the published augmentation: parity case `augment-blit`.

use tch::{Kind, Tensor};

use super::draws::{Gated, Labels};
use super::options::AugmentOptions;
use crate::DiffusionError;
use crate::transfer::bring;

/// Largest shift as a share of the image.
const TRANSLATE_MAX: f64 = 0.125;

/// Mirrors, turns and shifts the images.
///
/// A turn of w quarters is a mirroring of the columns where w is 1 or 2, then of the rows where w is 2 or 3, then a
/// transposition where w is odd; its two labels are whether the columns and whether the rows were mirrored.
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
                .where_self(&where_one(&coins, images), &moved);
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
        let among = |chosen: [f64; 2]| -> Vec<f64> {
            let is_chosen = |turns: &f64| chosen.iter().any(|one| (turns - one).abs() < 0.5);
            turns.iter().map(|one| f64::from(is_chosen(one))).collect()
        };
        let (left_right, top_bottom) = (among([1.0, 2.0]), among([2.0, 3.0]));
        labels.push(&left_right);
        labels.push(&top_bottom);
        for (chosen, dimension) in [(left_right, 3), (top_bottom, 2)] {
            moved = (moved.flip([dimension])).where_self(&where_one(&chosen, images), &moved);
        }
        moved = (moved.transpose(2, 3)).where_self(&where_one(&among([1.0, 3.0]), images), &moved);
    }
    if options.translate_int > 0.0 {
        let (x, y) = draws.uniform_pair(options.translate_int);
        // A positive shift moves columns to the right and rows up.
        for (shares, dimension, direction) in [(x, 3, 1.0), (y, 2, -1.0)] {
            // A share of 1 is the largest shift; the label has the whole pixels that became of it.
            let largest = TRANSLATE_MAX * images.size()[dimension] as f64;
            let shifts: Vec<f64> = shares
                .iter()
                .map(|share| (share * largest).round_ties_even())
                .collect();
            let shares: Vec<f64> = shifts.iter().map(|shift| shift / largest).collect();
            labels.push(&shares);
            let places: Vec<f64> = shifts.iter().map(|shift| direction * shift).collect();
            moved = shift(&moved, &places, dimension as i64);
        }
    }
    Ok(moved)
}

/// Which images have a one rather than a zero, `[n, 1, 1, 1]`.
fn where_one(values: &[f64], images: &Tensor) -> Tensor {
    let ones = Tensor::from_slice(values).gt(0.5);
    bring(&ones, images.device()).reshape([-1, 1, 1, 1])
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
        assert_eq!(
            Vec::<f64>::try_from(labels.reshape([-1])).unwrap(),
            [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
        );

        // Eight columns: at most one pixel. Two images: to the right and up; to the left and down.
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
        assert!(inner(&shifted, 0, 0, 1).equal(&inner(&images, 0, 1, 0)));
        assert!(inner(&shifted, 1, 1, 0).equal(&inner(&images, 0, 0, 1)));
        // Reflected, not repeated: the column before the first is the second.
        assert!(
            (shifted.double_value(&[0, 0, 0, 0]) - image.double_value(&[0, 0, 1, 1])).abs() < 1e-12
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
