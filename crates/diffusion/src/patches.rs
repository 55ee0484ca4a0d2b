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
mod tests;
