//! What each kind of stage does: glue between settings, data sets, networks and metrics.
//!
//! [`run`] is what a worker calls; each stage is one module and one function from a job to an outcome.
//! [`autoencoder`] trains a small autoencoder on a set of pixels; [`latents`] encodes such sets and decodes latents; [`checkpoint`] converts checkpoints and looks into them; [`measure`] says how fast a training would be here; [`probe`] what libtorch finds on this machine. No graph, no registry, no command line; mathematics and
//! formats belong to the crates below.

pub mod autoencoder;
pub mod checkpoint;
mod data;
mod decoder;
mod device;
mod ema_width;
mod encode;
mod evaluate;
mod features;
mod findings;
mod group;
mod job;
pub mod latents;
pub mod measure;
mod neighbours;
mod network;
mod reconstruct;
mod reconstructions;
mod reference;
mod sample;
mod scores;
mod shared_set;
mod shares;
mod statistics;
mod train;
mod variants;

pub use sample::{ImageSampler, NotFinite};

/// The allocator of every program that computes, libtorch's part of it included.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_recipes::GroupProbe;
use patchwork_terms::Kind;
use serde_json::{Value, json};
use tch::{Device, Tensor};

/// Does a job of any kind.
pub fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    if job.kind == GroupProbe::KIND {
        return group::try_out(job, context);
    }
    let kind: Kind = serde_json::from_value(job.kind.as_str().into())?;
    match kind {
        Kind::Prepare => patchwork_preparation::run(job, context),
        Kind::Autoencoder => autoencoder::run(job, context),
        Kind::Encode => encode::run(job, context),
        Kind::Reference => reference::run(job, context),
        Kind::Train => train::run(job, context),
        Kind::Sample => sample::run(job, context),
        Kind::Reconstruct => reconstruct::run(job, context),
        Kind::Evaluate => evaluate::run(job, context),
    }
}

/// What libtorch finds on this machine, by having it compute something.
pub fn probe() -> Value {
    let sum = Tensor::ones([2, 2], (tch::Kind::Float, Device::Cpu)).sum(tch::Kind::Float);
    json!({
        "sum_of_four_ones": sum.double_value(&[]),
        "threads": tch::get_num_threads(),
        "cuda_devices": tch::Cuda::device_count(),
        "has_cuda_runtime": tch::utils::has_cudart(),
    })
}
