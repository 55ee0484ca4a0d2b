//! Stages, fingerprints, the plan, worker processes and their supervisor.
//!
//! A pipeline is a graph of stages. Each stage's fingerprint names what goes into it; its artifact lies under
//! that name or does not exist. The supervisor ([`execute`]) starts one worker process a stage, listens to its
//! events and records everything in the registry; the worker ([`worker::run`]) fills a work folder and
//! publishes it by one rename.
//!
//! Knows no particular stage: kinds, settings and summaries are data. No tensors, no images, no command line.

mod capacity;
mod child;
pub mod environment;
mod error;
mod event_pipe;
mod executor;
pub mod explain;
pub mod failure;
mod flatten;
pub mod gc;
mod journal;
pub mod manifest;
pub mod observer;
pub mod plan;
mod progression;
pub mod protocol;
pub mod provenance;
pub mod rebuild;
mod recorder;
pub mod resources;
mod result;
mod row;
pub mod run_folders;
mod signals;
pub mod spec;
pub mod store;
pub mod story;
mod unfinished;
pub mod worker;

pub use environment::Environment;
pub use error::PipelineError;
pub use executor::{ExecuteOptions, execute};
pub use manifest::{Manifest, Outcome, Score, Subject};
pub use plan::{Plan, PlannedStage, Scope};
pub use result::{RunOutcome, StageResult};
pub use signals::Signals;
pub use spec::{Demand, PipelineSpec, StageSpec};
pub use store::Store;

pub use patchwork_registry::StageStatus;
