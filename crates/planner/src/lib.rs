//! From a resolved pipeline to the graph of stages that the supervisor runs.
//!
//! [`specify()`] digests the raw data, checks the weights and resolves what depends on the machine, so that what
//! is missing is told before anything runs and a fingerprint says all that a stage's output depends on. What a
//! stage does with its settings is the business of its worker.
//!
//! Must not know libtorch, the registry or the command line.

pub mod extractor;
pub mod missing;
pub mod precision;
pub mod source;
pub mod specify;

pub use specify::{SpecifyError, SpecifyOptions, specify, specify_stage};
