//! The way of a round through the network as CUDA graphs, one for each shape of rounds.
//!
//! A step of small patches is a few thousand kernels of some microseconds each, and starting them takes the host longer than
//! the GPU takes for them. The first round of a shape is computed as ever, which prepares what libtorch prepares at a first
//! call; the second is captured, and from then on a round is a copy into the graph's inputs and one launch.
//!
//! What a graph holds of the host is the same in every round of its shape: the factors of the loss, and the addresses of
//! weights and of the gradients that a round is added to, which [`FlatGradients`](crate::flat::FlatGradients) keeps in their
//! place from the first round on. What differs comes in tensors: patches, positions, labels, draws of noise levels and noise;
//! and dropout's numbers from the device's generator, whose seed and place a replay reads. Outside of it are the sum of
//! rounds, cleaning, Adam with its rate, averages and the clock.

use patchwork_libtorch::LibtorchError;
use patchwork_libtorch::cuda::{Graph, GraphStream};
use tch::Device;

use crate::NetworkDenoiser;
use crate::round::{Round, RoundInputs, RoundLoss, StepShare, pass, seed_dropout};

/// The rounds of one network on one device.
pub(crate) struct GraphedRounds {
    /// Before the stream whose memory they lie in.
    known: Vec<(Shape, Option<Captured>)>,
    stream: GraphStream,
}

/// What the rounds of a graph have in common: their step, and the size of each tensor that there is.
#[derive(Debug, PartialEq)]
struct Shape {
    share: StepShare,
    sizes: Vec<Option<Vec<i64>>>,
}

/// A graph, and where it reads and writes.
struct Captured {
    graph: Graph,
    inputs: RoundInputs,
    loss: RoundLoss,
}

impl GraphedRounds {
    /// No rounds yet.
    ///
    /// # Errors
    /// A device other than CUDA's; a program that was built without CUDA's headers.
    pub(crate) fn new(device: Device) -> Result<Self, LibtorchError> {
        Ok(Self {
            known: Vec::new(),
            stream: GraphStream::new(device)?,
        })
    }

    /// Forward and backward: adds the gradients of a round to those of the denoiser's parameters.
    ///
    /// # Panics
    /// With libtorch's errors.
    pub(crate) fn back_propagate(
        &mut self,
        denoiser: &NetworkDenoiser,
        round: &Round,
        share: &StepShare,
    ) -> RoundLoss {
        let inputs = RoundInputs::new(denoiser, round, share.side);
        let loss = self.round(denoiser, round, share, &inputs);
        loss.unwrap_or_else(|error| panic!("{error}"))
    }

    fn round(
        &mut self,
        denoiser: &NetworkDenoiser,
        round: &Round,
        share: &StepShare,
        inputs: &RoundInputs,
    ) -> Result<RoundLoss, LibtorchError> {
        let shape = Shape {
            share: *share,
            sizes: inputs
                .tensors()
                .map(|each| each.map(tch::Tensor::size))
                .collect(),
        };
        let Some((_, known)) = self.known.iter_mut().find(|(known, _)| *known == shape) else {
            seed_dropout(denoiser, round);
            let loss = self.stream.run(|| pass(denoiser, inputs, share))?;
            // Only now: a round that failed, as for want of memory, has prepared nothing.
            self.known.push((shape, None));
            // The next round here may write where its numbers lie.
            return Ok(loss.copy());
        };
        let captured = if let Some(captured) = known {
            captured.take_in(inputs);
            captured
        } else {
            let inputs = inputs.copy();
            let (graph, loss) = self.stream.capture(|| pass(denoiser, &inputs, share))?;
            known.insert(Captured {
                graph,
                inputs,
                loss,
            })
        };
        seed_dropout(denoiser, round);
        captured.graph.replay()?;
        Ok(captured.loss.copy())
    }
}

impl Captured {
    /// Puts the tensors of another round where the graph reads.
    fn take_in(&self, inputs: &RoundInputs) {
        tch::no_grad(|| {
            for (place, given) in self.inputs.tensors().zip(inputs.tensors()) {
                if let (Some(place), Some(given)) = (place, given) {
                    place.shallow_clone().copy_(given);
                }
            }
        });
    }
}
