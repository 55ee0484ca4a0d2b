//! The processes that train one network together, as seen from one of them.
//!
//! Each computes a share of every step's images; gradients and losses are summed, so that all have the same network all the
//! time. Rank 0 alone writes: checkpoints, snapshots, measurements, the artifact. What the clock, a signal or a full disk
//! decides is decided once for all.

use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_collectives::{CollectiveError, Group, Membership, Reduction};
use patchwork_dataset::Share;
use patchwork_diffusion::{Side, TrainStep};
use patchwork_recipes::Execution;
use tch::{Device, Kind, Tensor};

use super::learner::Learner;
use crate::group;

/// A process among those that train together; one alone has no group.
#[derive(Default)]
pub(super) struct Ranks {
    group: Option<Group>,
}

impl Ranks {
    /// Joins the other processes of the job, if it has any.
    pub(super) fn join(
        job: &Job,
        context: &Context,
        execution: &Execution,
        device: Device,
    ) -> Result<Self, StageError> {
        let group = group::join(job, context, execution, device)?;
        Ok(Self { group })
    }

    /// Whether this process is the one that writes.
    pub(super) fn is_first(&self) -> bool {
        self.membership().rank == 0
    }

    /// What of each step this process computes.
    pub(super) fn share(&self) -> Share {
        let Membership { rank, ranks, .. } = self.membership();
        Share::new(rank.into(), ranks.into())
    }

    fn membership(&self) -> Membership {
        self.group
            .as_ref()
            .map_or(Membership::ALONE, Group::membership)
    }

    /// Whether any process says yes, to each of some questions.
    pub(super) fn any<const N: usize>(&self, yes: [bool; N]) -> Result<[bool; N], CollectiveError> {
        match &self.group {
            Some(group) => group.any(yes),
            None => Ok(yes),
        }
    }

    /// Has rank 0 do something while the others wait; gives what came of it, there.
    pub(super) fn on_first<T>(
        &self,
        work: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Option<T>, StageError> {
        match &self.group {
            Some(group) => group.on_first(work)?.transpose(),
            None => work().map(Some),
        }
    }

    /// Adds up what all have accumulated of a step.
    pub(super) fn reduce(&self, step: &mut TrainStep, side: Side) -> Result<(), CollectiveError> {
        match &self.group {
            Some(group) => step.reduce(side, |tensor| {
                group.all_reduce(&mut [tensor], Reduction::Sum)
            }),
            None => Ok(()),
        }
    }

    /// Brings all to where rank 0's training stands.
    pub(super) fn share_learner(&self, learner: &mut Learner) -> Result<(), StageError> {
        let Some(group) = &self.group else {
            return Ok(());
        };
        // Most are views of what the learner holds; the others are taken in below.
        let mut tensors = learner.tensors();
        for (_, tensor) in &mut tensors {
            let mut sent = tensor.detach().to_device(group.device());
            group.broadcast(&mut [&mut sent], 0)?;
            // Itself, but for what lies on another device.
            if tensor.data_ptr() != sent.data_ptr() {
                tch::no_grad(|| tensor.copy_(&sent));
            }
        }
        let state = serde_json::to_vec(&learner.state)?;
        let mut length = Tensor::from_slice(&[state.len() as i64]).to_device(group.device());
        group.broadcast(&mut [&mut length], 0)?;
        let mut bytes = if self.is_first() {
            Tensor::from_slice(&state).to_device(group.device())
        } else {
            let length = length.int64_value(&[0]);
            Tensor::zeros([length], (Kind::Uint8, group.device()))
        };
        group.broadcast(&mut [&mut bytes], 0)?;
        if !self.is_first() {
            let bytes = Vec::<u8>::try_from(bytes.to_device(Device::Cpu))?;
            learner.take_in(tensors, serde_json::from_slice(&bytes)?)?;
        }
        Ok(())
    }

    /// Leaves together with all others; each is alone then.
    pub(super) fn leave(&mut self) -> Result<(), CollectiveError> {
        self.group.take().map_or(Ok(()), Group::leave)
    }
}
