//! A copy of a network that forward and backward run on, with gradients of its own.
//!
//! The float32 weights stay with the optimiser. Below float32 they are cast once a step, as one buffer, which all
//! copies share, and gradients come back as one buffer: casting each weight where it is used costs several passes over
//! all weights in a few hundred small operations, a sixth of a step of small patches.

use patchwork_core::Seed;
use patchwork_networks::{Dropout, Gradients, Parameter};
use tch::{Kind, Tensor};

use crate::flat::{FlatGradients, FlatLayout, for_each_block, move_into};
use crate::{Adam, NetworkDenoiser};

/// A buffer for the weights in the precision of `denoiser`, laid out as the optimiser's; none for float32.
pub(crate) fn compute_values(denoiser: &NetworkDenoiser, optimizer: &Adam) -> Option<Tensor> {
    let kind = denoiser.precision;
    let device = optimizer.values().device();
    (!matches!(kind, Kind::Float | Kind::Double)).then(|| optimizer.layout().zeros(kind, device))
}

/// A copy of a network under its preconditioning.
pub(crate) struct Replica {
    denoiser: NetworkDenoiser,
    gradients: ReplicaGradients,
}

/// The gradients of a copy that are not the optimiser's, on their way there.
pub(crate) struct ReplicaGradients {
    /// Those in the precision of the features, laid out as the optimiser's.
    aligned: Option<FlatGradients>,
    /// Those that are float32 below float32 too, and their places among the optimiser's.
    exact: Option<(FlatGradients, Vec<Tensor>)>,
}

impl Replica {
    /// A copy of the network whose parameters `optimizer` holds. Its weights are those of `values`, or else the
    /// optimiser's own. One copy may share the optimiser's gradients where no cast lies between them.
    pub(crate) fn new(
        denoiser: &NetworkDenoiser,
        optimizer: &mut Adam,
        values: Option<&Tensor>,
        gradients: Gradients,
    ) -> Self {
        let kind = values.map_or(Kind::Float, Tensor::kind);
        let network = denoiser.network.to_training_copy(kind, gradients);
        let device = optimizer.values().device();
        let (mut aligned, mut exact) = (Vec::new(), Vec::new());
        for (index, parameter) in network.parameters().into_iter().enumerate() {
            let is_cast = parameter.tensor.kind() != Kind::Float;
            if is_cast || (gradients == Gradients::Own && values.is_none()) {
                aligned.push((index, parameter));
            } else if gradients == Gradients::Own {
                exact.push((index, parameter));
            }
        }
        let within = |layout: &FlatLayout, parameters: &[(usize, Parameter)]| {
            layout.only(|index| parameters.iter().any(|(own, _)| *own == index))
        };
        let aligned = (!aligned.is_empty()).then(|| {
            let layout = within(optimizer.layout(), &aligned);
            let mut parameters = tensors(aligned);
            if let Some(values) = values {
                move_into(&layout, values, &mut parameters);
            }
            FlatGradients::new(&layout, parameters, kind, device)
        });
        let exact = (!exact.is_empty()).then(|| {
            let sums = within(optimizer.layout(), &exact).views(optimizer.gradients());
            let compact = FlatLayout::new(exact.iter().map(|(_, parameter)| parameter));
            let gradients = FlatGradients::new(&compact, tensors(exact), Kind::Float, device);
            (gradients, sums)
        });
        Self {
            gradients: ReplicaGradients { aligned, exact },
            denoiser: NetworkDenoiser {
                network,
                dropout: Some(Dropout::new(Seed::new(0))),
                ..*denoiser
            },
        }
    }

    /// The network to run.
    pub(crate) fn denoiser(&self) -> &NetworkDenoiser {
        &self.denoiser
    }

    /// The network to run, and its gradients for whoever adds them up.
    pub(crate) fn into_parts(self) -> (NetworkDenoiser, ReplicaGradients) {
        (self.denoiser, self.gradients)
    }

    /// Its gradients.
    pub(crate) fn gradients(&mut self) -> &mut ReplicaGradients {
        &mut self.gradients
    }
}

impl ReplicaGradients {
    /// Forgets what a round that failed has left.
    pub(crate) fn forget(&mut self) {
        let exact = self.exact.as_mut().map(|(gradients, _)| gradients);
        for gradients in self.aligned.as_mut().into_iter().chain(exact) {
            gradients.zero();
        }
    }

    /// Adds the gradients of a round to the optimiser's, and forgets them.
    pub(crate) fn hand_over(&mut self, optimizer: &mut Adam) {
        tch::no_grad(|| {
            if let Some(aligned) = &mut self.aligned {
                aligned.gather();
                let buffers = [&*optimizer.gradients(), &aligned.buffer];
                for_each_block(buffers, |[mut sum, mut gradients]| {
                    sum += gradients.to_kind(Kind::Float);
                    let _ = gradients.zero_();
                });
            }
            if let Some((exact, sums)) = &mut self.exact {
                exact.gather();
                for (sum, gradients) in sums.iter_mut().zip(exact.views()) {
                    *sum += gradients;
                }
                let _ = exact.buffer.zero_();
            }
        });
    }
}

fn tensors(parameters: Vec<(usize, Parameter)>) -> Vec<Tensor> {
    let parameters = parameters.into_iter();
    parameters.map(|(_, parameter)| parameter.tensor).collect()
}

#[cfg(test)]
mod tests;
