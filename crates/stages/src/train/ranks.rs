//! The processes that train one network together, as seen from one of them.
//!
//! Each computes a share of every step's images; gradients and losses are summed, so that all have the same network all the
//! time. Rank 0 alone writes: checkpoints, snapshots, measurements, the artifact. What the clock, a signal or a full disk
//! decides is decided once for all.

use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::protocol::{Job, Place};
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_collectives::{
    Backend, CollectiveError, Group, Hosts, Identity, JoinOptions, Membership, Reduction,
    Rendezvous,
};
use patchwork_config::Execution;
use patchwork_core::Digest;
use patchwork_dataset::Share;
use patchwork_diffusion::{Side, TrainStep};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::learner::Learner;
use super::limits::minutes;

/// How long ranks wait for each other to start, once rank 0 has.
const JOIN_TIMEOUT: Duration = Duration::from_mins(5);

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
        let Some(place) = &job.place else {
            return Ok(Self { group: None });
        };
        if place.rank > 0 {
            wait_for_rank_0(place, context)?;
        }
        let membership = Membership {
            rank: place.rank,
            ranks: place.ranks,
            local_rank: place.local_rank,
        };
        let rendezvous = Rendezvous::File {
            path: place.rendezvous.clone(),
            hosts: Hosts::This,
        };
        let backend = match device {
            Device::Cuda(index) => Backend::Nccl {
                device: index as u32,
            },
            _ => Backend::Gloo { host: None },
        };
        let options = JoinOptions {
            backend,
            join_timeout: JOIN_TIMEOUT,
            timeout: minutes(execution.collective_timeout_minutes),
            identity: identity(job)?,
        };
        let group = Group::join(membership, &rendezvous, &options)?;
        Ok(Self { group: Some(group) })
    }

    /// Whether this process is the one that writes.
    pub(super) fn is_first(&self) -> bool {
        self.membership().rank == 0
    }

    /// How many processes there are.
    pub(super) fn count(&self) -> u32 {
        self.membership().ranks
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

/// What a rank beside rank 0 makes: nothing of its own.
pub(super) fn no_outcome() -> Outcome {
    Outcome::new(json!({}), Vec::new())
}

/// Waits until rank 0 has the lock of what is to be made, however long another process holds it.
fn wait_for_rank_0(place: &Place, context: &Context) -> Result<(), StageError> {
    const PAUSE: Duration = Duration::from_millis(50);
    while !place.rendezvous.exists() {
        if context.is_interrupted() {
            return Err(StageError::Interrupted);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// What all ranks have to start from.
fn identity(job: &Job) -> Result<Identity, StageError> {
    let program = std::env::current_exe()?;
    Ok(Identity::default()
        .with("job", job.fingerprint.to_string())
        .with(
            "settings",
            Digest::of(&serde_json::to_vec(&job.settings)?).to_string(),
        )
        .with("program", Digest::of_file(&program)?.to_string()))
}
