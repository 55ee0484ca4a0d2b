//! How the processes of a job become a group, and what such a group is worth.

use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::presence::wait_for_rank_0;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_collectives::{
    Backend, CollectiveError, Group, Hosts, Identity, JoinOptions, Rendezvous, probe,
};
use patchwork_core::Digest;
use patchwork_core::membership::host_name;
use patchwork_recipes::{Execution, GroupProbe};
use serde_json::json;
use tch::{Device, Tensor};

use crate::device;

/// Joins the other processes of a job; none where it has no others.
pub(crate) fn join(
    job: &Job,
    context: &Context,
    execution: &Execution,
    device: Device,
) -> Result<Option<Group>, StageError> {
    let Some(place) = &job.place else {
        return Ok(None);
    };
    let timeout = Duration::from_secs_f64(execution.collective_timeout_minutes * 60.0);
    if !job.is_first() {
        wait_for_rank_0(place, timeout, context)?;
    }
    let rendezvous = Rendezvous::File {
        path: place.rendezvous.clone(),
        hosts: if place.across_machines {
            Hosts::Several
        } else {
            Hosts::This
        },
    };
    let backend = match device {
        Device::Cuda(index) => Backend::Nccl {
            device: index as u32,
        },
        _ => Backend::Gloo { host: None },
    };
    let options = JoinOptions {
        backend,
        join_timeout: timeout,
        timeout,
        identity: identity(job)?,
    };
    Ok(Some(Group::join(place.membership, &rendezvous, &options)?))
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

/// A group of one process has nothing to try.
#[derive(Debug, thiserror::Error)]
#[error("there is one rank, which has no other to exchange numbers with")]
struct Alone;

/// Forms a group and times its all-reduce: the job of `patchwork doctor --ranks`.
pub(crate) fn try_out(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let GroupProbe { parameters } = serde_json::from_value(job.settings.clone())?;
    let execution: Execution = serde_json::from_value(job.execution.clone())?;
    let device = device::configure(&execution)?;
    let group = join(job, context, &execution, device)?.ok_or(Alone)?;
    let found = probe(&group, parameters, device)?;
    let machines = gather(&group, &host_name())?;
    let interfaces = gather(&group, &group.interfaces().join(", "))?;
    group.leave()?;
    let summary = json!({
        "machines": machines,
        "interfaces": interfaces,
        "bytes": found.bytes,
        "latency_seconds": found.latency.as_secs_f64(),
        "seconds": found.time.as_secs_f64(),
    });
    Ok(Outcome::new(summary, Vec::new()))
}

/// The texts of all ranks; what is longer than a line is cut off.
fn gather(group: &Group, text: &str) -> Result<Vec<String>, CollectiveError> {
    const LONGEST: usize = 256;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(LONGEST, 0);
    let own = Tensor::from_slice(&bytes).to_device(group.device());
    let all = group.all_gather(&own)?.to_device(Device::Cpu);
    let ranks = i64::from(group.membership().ranks);
    let texts = (0..ranks).map(|rank| {
        let bytes = Vec::<u8>::try_from(all.get(rank)).expect("a row of bytes");
        let bytes: Vec<u8> = bytes.into_iter().take_while(|&byte| byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    Ok(texts.collect())
}
