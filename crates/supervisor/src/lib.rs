//! The plan of a run, and the supervisor that carries it out.
//!
//! A pipeline is a graph of stages. [`Plan`] puts them in order, fingerprints them and finds out which are done; [`execute`]
//! starts a worker process for each of the others (`launcher`), follows what they report, and has the journal write
//! down what happens: in the registry, and in the run's folder, from which [`rebuild`] makes the registry again.
//!
//! Must not know: any particular stage (kinds, settings and summaries are data), what a worker computes, tensors, images,
//! the command line.

mod capacity;
mod earlier;
mod error;
mod executor;
pub mod explain;
mod flatten;
pub mod gc;
mod journal;
mod launcher;
pub mod observer;
pub mod plan;
mod progression;
pub mod rebuild;
mod recorder;
mod result;
pub mod run_folder;
pub mod run_folders;
pub mod run_records;
mod signals;

pub use error::PipelineError;
pub use executor::{ExecuteOptions, execute};
pub use launcher::{RankError, carry_out, remove_leftovers, work_as_rank};
pub use plan::{Plan, PlannedStage, Scope};
pub use result::{RunOutcome, StageResult};
pub use signals::Signals;
