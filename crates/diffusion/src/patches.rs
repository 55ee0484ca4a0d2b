//! Patches: where they lie, which sides are drawn how often, and when.
//!
//! A patch of side `s` has its top-left corner at (row, column) of the image. Two more input channels give the
//! network where each of its pixels lies in the whole image, so that one network learns every part and every scale.
//! Source: Patch Diffusion (arXiv 2304.12526), sections 3.1 to 3.3.

use patchwork_terms::{PatchPart, PatchSchedule, latent_patch_shares, patch_shares};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::DiffusionError;
use crate::transfer::bring;

/// One size of patches and the number of times that the batch grows with it.
///
/// Patches are square but for the whole of an image that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Height of the patch in pixels.
    pub height: i64,
    /// Width of the patch in pixels.
    pub width: i64,
    /// Factor on the batch, so that every step costs about the same memory: resolution / side.
    pub multiplier: i64,
}

impl Side {
    /// Square patches.
    pub const fn square(side: i64, multiplier: i64) -> Self {
        Self {
            height: side,
            width: side,
            multiplier,
        }
    }

    /// The side in pixels, of the whole of an image the shorter one: what distinguishes the patch sizes of a training.
    pub fn side(self) -> i64 {
        i64::min(self.height, self.width)
    }

    /// Pixels of a patch.
    pub fn pixels(self) -> i64 {
        self.height * self.width
    }
}

/// A patch side with the probability of a step that uses it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideShare {
    /// The side and its multiplier.
    pub side: Side,
    /// Probability of this side, in [0, 1].
    pub probability: f64,
}

/// The patch sides of a model, from small to large, with their probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchSides {
    shares: Vec<SideShare>,
}

impl PatchSides {
    /// The sides of a pixel model ([`patch_shares`]), of which R is the shorter side of the image.
    pub fn pixel(
        height: i64,
        width: i64,
        sizes: &[PatchPart],
        full_image_ratio: f64,
    ) -> Result<Self, DiffusionError> {
        let shares = patch_shares(sizes, full_image_ratio);
        let parts = shares.map(|share| (share.divisor.into(), share.probability));
        Self::divided([height, width], full_image_ratio, &parts)
    }

    /// The sides of a latent model ([`latent_patch_shares`]), of which R is the shorter side in latents.
    pub fn latent(height: i64, width: i64, full_image_ratio: f64) -> Result<Self, DiffusionError> {
        let shares = latent_patch_shares(full_image_ratio);
        let parts = shares.map(|share| (share.divisor.into(), share.probability));
        Self::divided([height, width], full_image_ratio, &parts)
    }

    /// Sides chosen by hand, from small to large; the probabilities sum to one.
    pub fn from_shares(shares: Vec<SideShare>) -> Result<Self, DiffusionError> {
        if shares.is_empty() {
            return Err(DiffusionError::Sides(
                "no patch size is given: give at least one",
            ));
        }
        if !shares.is_sorted_by(|smaller, larger| smaller.side.side() < larger.side.side()) {
            return Err(DiffusionError::Sides(
                "patch sizes are not in ascending order: sort them",
            ));
        }
        if shares
            .iter()
            .any(|share| share.side.side() < 1 || share.side.multiplier < 1)
        {
            return Err(DiffusionError::Sides(
                "a patch size or a multiplier is below one: use positive numbers",
            ));
        }
        let total: f64 = shares.iter().map(|share| share.probability).sum();
        if shares.iter().any(|share| share.probability < 0.0) || (total - 1.0).abs() > 1e-9 {
            return Err(DiffusionError::Sides(
                "probabilities are negative or do not sum to one: correct them",
            ));
        }
        Ok(Self { shares })
    }

    /// The sides from small to large.
    pub fn shares(&self) -> &[SideShare] {
        &self.shares
    }

    /// Mean of the batch multiplier over the draws of a side: Σ probability · multiplier.
    pub fn mean_multiplier(&self) -> f64 {
        self.shares
            .iter()
            .map(|share| share.probability * share.side.multiplier as f64)
            .sum()
    }

    /// The side of a step, from a uniform draw in [0, 1) and the progress (images seen / duration).
    ///
    /// # Determinism
    /// A function of its arguments alone: every rank that gives the same draw gets the same side.
    pub fn side_at(&self, schedule: PatchSchedule, uniform: f64, progress: f64) -> Side {
        match schedule {
            PatchSchedule::Stochastic => self.at(uniform),
            PatchSchedule::Progressive => self.at(progress),
        }
    }

    /// The side of a step together with what it counts on the clock.
    pub fn plan(&self, schedule: PatchSchedule, uniform: f64, progress: f64) -> StepPlan {
        let side = self.side_at(schedule, uniform, progress);
        let images_multiplier = match schedule {
            PatchSchedule::Stochastic => self.mean_multiplier(),
            PatchSchedule::Progressive => side.multiplier as f64,
        };
        StepPlan {
            side,
            images_multiplier,
        }
    }

    fn divided(
        [height, width]: [i64; 2],
        full_image_ratio: f64,
        parts: &[(i64, f64)],
    ) -> Result<Self, DiffusionError> {
        if !(0.0..=1.0).contains(&full_image_ratio) {
            return Err(DiffusionError::FullImageRatio(full_image_ratio));
        }
        let resolution = i64::min(height, width);
        let used = parts.iter().filter(|(_, probability)| *probability > 0.0);
        let divisor = used.map(|&(divisor, _)| divisor).fold(1, i64::max);
        if resolution < divisor || resolution % divisor != 0 {
            return Err(DiffusionError::Resolution {
                resolution,
                divisor,
            });
        }
        let shares = parts
            .iter()
            .map(|&(divisor, probability)| SideShare {
                side: match divisor {
                    1 => Side {
                        height,
                        width,
                        multiplier: 1,
                    },
                    _ => Side::square(resolution / divisor, divisor),
                },
                probability,
            })
            .collect();
        Self::from_shares(shares)
    }

    /// The side whose interval of the cumulated probabilities holds `position` in [0, 1).
    fn at(&self, position: f64) -> Side {
        let mut cumulated = 0.0;
        let mut last = self.shares[0].side;
        for share in self.shares.iter().filter(|share| share.probability > 0.0) {
            cumulated += share.probability;
            last = share.side;
            if position < cumulated {
                break;
            }
        }
        last
    }
}

/// What one training step does: its side, and by how much the batch counts on the clock of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPlan {
    /// The side of every patch of the step, in all accumulation rounds and on all ranks.
    pub side: Side,
    /// Images counted for each image of the batch: the mean multiplier, or the side's own in a progressive run.
    pub images_multiplier: f64,
}

/// The two coordinate channels of patches, column first, then row.
///
/// # Shapes
/// - `rows`, `cols`: top-left corners in pixels, one for each image
/// - returns: `[n, 2, side_h, side_w]`, f32, on `device`; the corners of the whole image are exactly -1 and 1
///
/// # Source
/// Patch Diffusion, section 3.1: `2 · (index / (R - 1) - 0.5)`.
pub fn patch_positions(
    rows: &[i64],
    cols: &[i64],
    side_h: i64,
    side_w: i64,
    resolution_h: i64,
    resolution_w: i64,
    device: Device,
) -> Tensor {
    let images = rows.len() as i64;
    let x = axis(cols, side_w, resolution_w, device)
        .reshape([images, 1, 1, side_w])
        .expand([images, 1, side_h, side_w], false);
    let y = axis(rows, side_h, resolution_h, device)
        .reshape([images, 1, side_h, 1])
        .expand([images, 1, side_h, side_w], false);
    Tensor::cat(&[x, y], 1).to_kind(Kind::Float)
}

/// Patches of `images` at the given corners.
///
/// # Shapes
/// - `images`: `[n, channels, height, width]`
/// - `rows`, `cols`: `n` top-left corners, each at most the image's side less the patch's
/// - returns: `[n, channels, side_h, side_w]`
pub fn crop(images: &Tensor, rows: &[i64], cols: &[i64], side_h: i64, side_w: i64) -> Tensor {
    if images.device().is_cuda() {
        return crop_by_index(images, rows, cols, side_h, side_w);
    }
    let patches: Vec<Tensor> = rows
        .iter()
        .zip(cols)
        .enumerate()
        .map(|(index, (&row, &col))| {
            images
                .get(index as i64)
                .narrow(1, row, side_h)
                .narrow(2, col, side_w)
        })
        .collect();
    Tensor::stack(&patches, 0)
}

/// What [`crop`] gives, in the same few operations however many images there are: a GPU would wait for the launch of each.
fn crop_by_index(images: &Tensor, rows: &[i64], cols: &[i64], side_h: i64, side_w: i64) -> Tensor {
    let (size, device) = (images.size(), images.device());
    let (count, channels, width) = (size[0], size[1], size[3]);
    // [n, side]
    let places = |starts: &[i64], side: i64| {
        bring(&Tensor::from_slice(starts), device).unsqueeze(1)
            + Tensor::arange(side, (Kind::Int64, device)).unsqueeze(0)
    };
    let rows = places(rows, side_h)
        .reshape([count, 1, side_h, 1])
        .expand([count, channels, side_h, width], false);
    let cols = places(cols, side_w)
        .reshape([count, 1, 1, side_w])
        .expand([count, channels, side_h, side_w], false);
    images.gather(2, &rows, false).gather(3, &cols, false)
}

/// Coordinates of `side` pixels from each start along an axis of `resolution` pixels: `[n, side]`, f64, on `device`. The starts
/// alone go there: a GPU may be waited for where there is much to copy.
fn axis(starts: &[i64], side: i64, resolution: i64, device: Device) -> Tensor {
    let last = i64::max(resolution - 1, 1) as f64;
    let starts = bring(&Tensor::from_slice(starts), device);
    let indices = starts.to_kind(Kind::Double).unsqueeze(1)
        + Tensor::arange(side, (Kind::Double, device)).unsqueeze(0);
    (indices / last - 0.5) * 2.0
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    /// The coordinate channels of the whole image, `[1, 2, h, w]`, on the CPU.
    fn full_positions(resolution_h: i64, resolution_w: i64) -> Tensor {
        patch_positions(
            &[0],
            &[0],
            resolution_h,
            resolution_w,
            resolution_h,
            resolution_w,
            Device::Cpu,
        )
    }

    #[test]
    fn a_patch_has_the_coordinates_of_its_place_in_the_full_grid() {
        let full = full_positions(24, 16);
        assert_eq!(full.size(), [1, 2, 24, 16]);
        for (channel, row, col, expected) in [
            (0, 5, 0, -1.0),
            (0, 5, 15, 1.0),
            (1, 0, 3, -1.0),
            (1, 23, 3, 1.0),
        ] {
            assert_eq!(full.double_value(&[0, channel, row, col]), expected);
        }
        let (rows, cols) = ([0, 3, 16], [8, 5, 0]);
        let cropped = crop(&full.expand([3, 2, 24, 16], false), &rows, &cols, 8, 8);
        let positions = patch_positions(&rows, &cols, 8, 8, 24, 16, Device::Cpu);
        assert!(cropped.equal(&positions));
    }

    #[test]
    fn frequencies_of_drawn_sides_match_their_probabilities() {
        for ratio in [0.0, 0.1, 0.5, 1.0] {
            let sides = PatchSides::pixel(64, 64, PatchPart::ALL, ratio).unwrap();
            let draws = 10_000;
            for share in sides.shares() {
                let count = (0..draws)
                    .filter(|&draw| {
                        let uniform = f64::from(draw) / f64::from(draws);
                        sides.side_at(PatchSchedule::Stochastic, uniform, 0.0) == share.side
                    })
                    .count();
                let frequency = count as f64 / f64::from(draws);
                assert!(
                    (frequency - share.probability).abs() < 2e-4,
                    "{ratio} {share:?}"
                );
            }
        }
    }

    #[test]
    fn every_crop_has_the_coordinates_of_its_place() {
        for (height, width) in [(8_i64, 8_i64), (5, 7)] {
            let full = full_positions(height, width);
            for side in 1..=i64::min(height, width) {
                let corners: Vec<(i64, i64)> = (0..=height - side)
                    .flat_map(|row| (0..=width - side).map(move |col| (row, col)))
                    .collect();
                let (rows, cols): (Vec<i64>, Vec<i64>) = corners.into_iter().unzip();
                let whole = full.expand([rows.len() as i64, 2, height, width], false);
                let positions =
                    patch_positions(&rows, &cols, side, side, height, width, Device::Cpu);
                for crop in [crop, crop_by_index] {
                    let cropped = crop(&whole, &rows, &cols, side, side);
                    assert!(cropped.equal(&positions), "{side}");
                }
            }
        }
    }

    /// Sides as training takes them, against their probabilities.
    #[test]
    fn both_schedules_use_each_side_for_its_share() {
        let draws: Vec<f64> = {
            let _guard = crate::latents::seeded(13);
            let uniform = Tensor::rand([20_000], (Kind::Double, Device::Cpu));
            Vec::try_from(uniform).unwrap()
        };
        for sides in [
            PatchSides::pixel(64, 64, PatchPart::ALL, 0.5).unwrap(),
            PatchSides::pixel(64, 64, PatchPart::ALL, 0.1).unwrap(),
            PatchSides::latent(32, 32, 0.3).unwrap(),
        ] {
            for share in sides.shares() {
                let p = share.probability;
                let drawn = draws.iter().filter(|&&draw| {
                    sides.side_at(PatchSchedule::Stochastic, draw, 0.0) == share.side
                });
                let frequency = drawn.count() as f64 / draws.len() as f64;
                let error = 4.0 * (p * (1.0 - p) / draws.len() as f64).sqrt();
                assert!((frequency - p).abs() < error, "{share:?}: {frequency}");
            }
            // Progressive: by the clock of images, to within one step at each change.
            let (duration, batch) = (1_000_000.0, 64.0);
            let mut seen = 0.0;
            let mut counted = vec![0.0; sides.shares().len()];
            while seen < duration {
                let plan = sides.plan(PatchSchedule::Progressive, 0.5, seen / duration);
                let images = batch * plan.images_multiplier;
                for (count, share) in counted.iter_mut().zip(sides.shares()) {
                    if share.side == plan.side {
                        *count += images;
                    }
                }
                seen += images;
            }
            for (count, share) in counted.iter().zip(sides.shares()) {
                let error = count / duration - share.probability;
                assert!(
                    error.abs() < 4.0 * 2.0 * batch / duration,
                    "{share:?}: {error}"
                );
            }
        }
    }

    #[test]
    fn the_sizes_that_are_used_share_the_steps_of_the_others() {
        let probabilities = |sizes: &[PatchPart], ratio| -> Vec<f64> {
            let sides = PatchSides::pixel(32, 32, sizes, ratio).unwrap();
            sides
                .shares()
                .iter()
                .map(|share| share.probability)
                .collect()
        };
        assert_eq!(probabilities(PatchPart::ALL, 0.5), [0.2, 0.3, 0.5]);
        assert_eq!(probabilities(&[PatchPart::Half], 0.5), [0.0, 0.5, 0.5]);
        assert_eq!(probabilities(&[PatchPart::Half], 0.0), [0.0, 1.0, 0.0]);
        assert_eq!(
            probabilities(&[PatchPart::Quarter], 0.25),
            [0.75, 0.0, 0.25]
        );
        assert_eq!(probabilities(&[], 0.25), [0.0, 0.0, 1.0]);
        // A size that no step uses need not divide the image.
        assert!(PatchSides::pixel(30, 30, &[PatchPart::Half], 0.5).is_ok());
    }

    #[test]
    fn multipliers_count_the_images() {
        let sides = PatchSides::pixel(64, 64, PatchPart::ALL, 0.5).unwrap();
        assert_eq!(sides.mean_multiplier(), 1.9);
        let plan = |progress| sides.plan(PatchSchedule::Progressive, 0.99, progress);
        let small = Side::square(16, 4);
        assert_eq!(plan(0.199).side, small);
        assert_eq!(plan(0.199).images_multiplier, 4.0);
        assert_eq!(plan(0.2).side.side(), 32);
        assert_eq!(plan(0.5).side.side(), 64);
        assert_eq!(plan(1.3).side.side(), 64);
        assert_eq!(
            PatchSides::latent(32, 32, 0.5).unwrap().mean_multiplier(),
            1.5
        );
        assert!(PatchSides::pixel(30, 30, PatchPart::ALL, 0.5).is_err());
        // Of a picture that is not square, parts of the shorter side and the whole.
        let sides: Vec<Side> = (PatchSides::pixel(96, 64, PatchPart::ALL, 0.5)
            .unwrap()
            .shares()
            .iter())
        .map(|share| share.side)
        .collect();
        let whole = Side {
            height: 96,
            width: 64,
            multiplier: 1,
        };
        assert_eq!(sides, [small, Side::square(32, 2), whole]);
        assert!(PatchSides::pixel(96, 66, PatchPart::ALL, 0.5).is_err());
        assert!(PatchSides::pixel(32, 32, PatchPart::ALL, f64::NAN).is_err());
    }
}
