//! What each kind of stage does: glue between settings, data sets, networks and metrics.
//!
//! [`specify`] turns a resolved pipeline into the graph that the supervisor runs; [`run`] is what a worker
//! calls. Each stage is one module and one function from a job to an outcome. No graph, no registry, no
//! command line; mathematics and formats belong to the crates below.

mod accumulate;
mod device;
mod evaluate;
mod job;
mod network;
mod plot;
mod prepare;
mod reconstruct;
mod reference;
mod sample;
pub mod specify;
mod train;
mod weights;

use patchwork_config::Kind;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::Job;
use patchwork_pipeline::worker::{Context, StageError};

pub use weights::{WEIGHTS_VARIABLE, weights_folder};

/// Does a job of any kind.
pub fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let kind: Kind = serde_json::from_value(job.kind.as_str().into())?;
    match kind {
        Kind::Prepare => prepare::run(job, context),
        Kind::Reference => reference::run(job, context),
        Kind::Train => train::run(job, context),
        Kind::Sample => sample::run(job, context),
        Kind::Evaluate => evaluate::run(job, context),
    }
}

/// The libtorch that the program is built against.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// The name of what `precision = "auto"` means on this machine for a device.
pub fn automatic_precision(device: &str) -> &'static str {
    device::resolve(patchwork_config::Precision::Auto, device).name()
}
