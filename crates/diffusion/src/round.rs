//! Images and draws of a part of a step, and its way forward and back.

use std::ops::Range;

use patchwork_core::Seed;
use tch::{Device, Kind, Tensor};

use crate::loss::{LossOptions, patch_loss, scalar_loss};
use crate::patches::patch_positions;
use crate::{Conditioning, NetworkDenoiser, Side};

/// The images and the draws of one accumulation round.
#[derive(Debug)]
pub struct Round {
    /// Patches, `[n, channels, side_h, side_w]`, f32 in data units, on the network's device.
    pub patches: Tensor,
    /// Top-left rows of the patches in the whole image.
    pub rows: Vec<i64>,
    /// Top-left columns of the patches in the whole image.
    pub cols: Vec<i64>,
    /// One-hot labels, `[n, classes]`, rows already dropped where guidance wants it.
    pub class_labels: Option<Tensor>,
    /// What augmentation did, `[n, augment_dim]`.
    pub augment_labels: Option<Tensor>,
    /// Standard normal draws that choose the noise levels under any preconditioning, `[n]`.
    pub rnd_normal: Tensor,
    /// Standard normal draws like `patches`.
    pub noise: Tensor,
    /// Seed of the dropout in the step; absent to continue the random numbers of the last micro-batch.
    pub dropout_seed: Option<Seed>,
    /// The place of the first image among those of the whole step, of all ranks.
    pub first_image: u64,
}

impl Round {
    /// The images in `count` parts of nearly equal size, in their order.
    pub fn parts(&self, count: usize) -> impl Iterator<Item = Self> {
        let images = self.rows.len();
        (0..count).map(move |index| self.part(index * images / count..(index + 1) * images / count))
    }

    fn part(&self, images: Range<usize>) -> Self {
        let (first, count) = (images.start as i64, images.len() as i64);
        let some = |tensor: &Tensor| tensor.narrow(0, first, count);
        Self {
            patches: some(&self.patches),
            rows: self.rows[images.clone()].to_vec(),
            cols: self.cols[images.clone()].to_vec(),
            class_labels: self.class_labels.as_ref().map(some),
            augment_labels: self.augment_labels.as_ref().map(some),
            rnd_normal: some(&self.rnd_normal),
            noise: some(&self.noise),
            dropout_seed: self.dropout_seed,
            first_image: self.first_image + images.start as u64,
        }
    }
}

/// What a round has to know of its step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepShare {
    pub(crate) side: Side,
    /// Images of the step, all rounds and all ranks together.
    pub(crate) images: i64,
    pub(crate) loss_scaling: f64,
    pub(crate) loss: LossOptions,
}

/// The loss of a round, or of a part of one.
#[derive(Debug)]
pub(crate) struct RoundLoss {
    /// What was back-propagated.
    pub(crate) scalar: Tensor,
    /// Noise levels of the images, `[n]`.
    pub(crate) sigma: Tensor,
    /// Losses of the images, `[n]`.
    pub(crate) images: Tensor,
}

/// Forward and backward: adds the gradients of a round to those of the denoiser's parameters.
pub(crate) fn back_propagate(
    denoiser: &NetworkDenoiser,
    round: &Round,
    share: &StepShare,
) -> RoundLoss {
    let StepShare {
        side,
        images,
        loss_scaling,
        ref loss,
    } = *share;
    let config = denoiser.network.config();
    let positions = config.position_channels.then(|| {
        patch_positions(
            &round.rows,
            &round.cols,
            side.height,
            side.width,
            config.height(),
            config.width(),
            round.patches.device(),
        )
    });
    let conditioning = Conditioning {
        positions,
        class_labels: round.class_labels.as_ref().map(Tensor::shallow_clone),
        augment_labels: round.augment_labels.as_ref().map(Tensor::shallow_clone),
    };
    match (round.dropout_seed, &denoiser.dropout) {
        (Some(seed), Some(dropout)) if round.patches.device() == Device::Cpu => {
            dropout.reseed(seed, round.first_image);
        }
        // The device's generator draws for all images of the round together, other ones in each round.
        (Some(seed), _) => {
            tch::manual_seed(seed.at(round.first_image).value().cast_signed());
        }
        (None, _) => {}
    }
    let losses = patch_loss(
        denoiser,
        &round.patches,
        &round.rnd_normal,
        &round.noise,
        &conditioning,
        loss,
    );
    let scalar = scalar_loss(&losses, loss_scaling, images);
    scalar.backward();
    RoundLoss {
        scalar: scalar.detach(),
        sigma: loss.sigma(&round.rnd_normal),
        images: losses
            .detach()
            .sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)
            .mean_dim([1_i64, 2].as_slice(), false, Kind::Float),
    }
}
