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
#[derive(Clone, Copy, Debug, PartialEq)]
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

impl RoundLoss {
    /// The same numbers in memory of their own.
    pub(crate) fn copy(&self) -> Self {
        Self {
            scalar: self.scalar.copy(),
            sigma: self.sigma.copy(),
            images: self.images.copy(),
        }
    }
}

/// All tensors that the way of a round through the network reads, on its device.
#[derive(Debug)]
pub(crate) struct RoundInputs {
    /// Patches, the draws of their noise levels, and their noise, as in [`Round`].
    pub(crate) drawn: [Tensor; 3],
    /// What the network is told about them.
    pub(crate) conditioning: Conditioning,
}

impl RoundInputs {
    /// The inputs of a round; where patches lie comes from the host here, and nothing else later.
    pub(crate) fn new(denoiser: &NetworkDenoiser, round: &Round, side: Side) -> Self {
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
        let drawn = [&round.patches, &round.rnd_normal, &round.noise];
        Self {
            drawn: drawn.map(Tensor::shallow_clone),
            conditioning: Conditioning {
                positions,
                class_labels: round.class_labels.as_ref().map(Tensor::shallow_clone),
                augment_labels: round.augment_labels.as_ref().map(Tensor::shallow_clone),
            },
        }
    }

    /// Every tensor, those that may be absent last.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Option<&Tensor>> {
        let Conditioning {
            positions,
            class_labels,
            augment_labels,
        } = &self.conditioning;
        let absent = [positions, class_labels, augment_labels].map(Option::as_ref);
        self.drawn.iter().map(Some).chain(absent)
    }

    /// The same numbers in memory of their own.
    pub(crate) fn copy(&self) -> Self {
        let copy = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::copy);
        Self {
            drawn: self.drawn.each_ref().map(Tensor::copy),
            conditioning: Conditioning {
                positions: copy(&self.conditioning.positions),
                class_labels: copy(&self.conditioning.class_labels),
                augment_labels: copy(&self.conditioning.augment_labels),
            },
        }
    }
}

/// Forward and backward: adds the gradients of a round to those of the denoiser's parameters.
pub(crate) fn back_propagate(
    denoiser: &NetworkDenoiser,
    round: &Round,
    share: &StepShare,
) -> RoundLoss {
    let inputs = RoundInputs::new(denoiser, round, share.side);
    seed_dropout(denoiser, round);
    pass(denoiser, &inputs, share)
}

/// Has the dropout of a round begin with its seed, where it has one.
pub(crate) fn seed_dropout(denoiser: &NetworkDenoiser, round: &Round) {
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
}

/// The way forward and back. On a GPU it is a function of tensors alone, which the host does not read: a graph of it does the
/// same with other numbers in them.
pub(crate) fn pass(
    denoiser: &NetworkDenoiser,
    inputs: &RoundInputs,
    share: &StepShare,
) -> RoundLoss {
    let StepShare {
        images,
        loss_scaling,
        ref loss,
        ..
    } = *share;
    let [patches, rnd_normal, noise] = &inputs.drawn;
    let losses = patch_loss(
        denoiser,
        patches,
        rnd_normal,
        noise,
        &inputs.conditioning,
        loss,
    );
    let scalar = scalar_loss(&losses, loss_scaling, images);
    scalar.backward();
    RoundLoss {
        scalar: scalar.detach(),
        sigma: loss.sigma(rnd_normal),
        images: losses
            .detach()
            .sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)
            .mean_dim([1_i64, 2].as_slice(), false, Kind::Float),
    }
}
