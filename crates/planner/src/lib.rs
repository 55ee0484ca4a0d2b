//! From a resolved pipeline to the graph of stages that the supervisor runs.
//!
//! [`specify()`] digests the raw data, checks the weights and resolves what depends on the machine, so that a
//! fingerprint says all that a stage's output depends on. What is missing goes with the stage: the plan tells it before
//! anything runs, if the stage is to run. What a stage does with its settings is the business of its worker.
//!
//! Must not know libtorch, the registry or the command line.

pub mod extractor;
pub mod network;
mod outside;
pub mod precision;
mod remembered;
pub mod source;
pub mod specify;

pub use specify::{SpecifyError, SpecifyOptions, specify, specify_stage};
