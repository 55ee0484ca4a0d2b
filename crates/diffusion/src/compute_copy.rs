//! The copy of the weights that forward and backward run on below float32.
//!
//! The float32 weights stay with the optimiser. Once a step they are cast as one buffer, and the gradients of a round
//! are added to the optimiser's as one buffer: casting each weight where it is used costs several passes over all
//! weights in a few hundred small operations, a sixth of a step of small patches.

use tch::{Kind, Tensor};

use crate::flat::{FlatGradients, for_each_block, move_into};
use crate::{Adam, NetworkDenoiser};

/// A network in another precision beside the one that an optimiser trains, under the same preconditioning.
pub(crate) struct ComputeCopy {
    denoiser: NetworkDenoiser,
    values: Tensor,
    gradients: FlatGradients,
}

impl ComputeCopy {
    /// A copy in the precision of `denoiser`, whose parameters `optimizer` holds; none for float32.
    pub(crate) fn of(denoiser: &NetworkDenoiser, optimizer: &Adam) -> Option<Self> {
        let kind = denoiser.precision;
        if matches!(kind, Kind::Float | Kind::Double) {
            return None;
        }
        let network = denoiser.network.to_training_copy(kind);
        let layout = optimizer.layout();
        let device = optimizer.values().device();
        let values = layout.zeros(kind, device);
        let mut parameters: Vec<Tensor> = network
            .parameters()
            .into_iter()
            .map(|parameter| parameter.tensor)
            .collect();
        // Shared parameters are float32 and stay the optimiser's; their place in the buffers is not used.
        let layout = layout.only(|index| parameters[index].kind() == kind);
        parameters.retain(|parameter| parameter.kind() == kind);
        move_into(&layout, &values, &mut parameters);
        Some(Self {
            denoiser: NetworkDenoiser {
                network,
                ..*denoiser
            },
            gradients: FlatGradients::new(&layout, parameters, kind, device),
            values,
        })
    }

    /// The network to run.
    pub(crate) fn denoiser(&self) -> &NetworkDenoiser {
        &self.denoiser
    }

    /// Takes over the optimiser's weights.
    pub(crate) fn refresh(&mut self, optimizer: &Adam) {
        tch::no_grad(|| self.values.copy_(optimizer.values()));
    }

    /// Adds the gradients of a round to the optimiser's, and forgets them.
    pub(crate) fn hand_over(&mut self, optimizer: &mut Adam) {
        self.gradients.gather();
        tch::no_grad(|| {
            let buffers = [&*optimizer.gradients(), &self.gradients.buffer];
            for_each_block(buffers, |[mut sum, mut gradients]| {
                sum += gradients.to_kind(Kind::Float);
                let _ = gradients.zero_();
            });
        });
    }
}
