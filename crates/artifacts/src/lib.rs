//! Artifacts: what each is made from, where it lies, and the process that makes it.
//!
//! A [`StageSpec`] says what a stage is to make; its fingerprint names the artifact, which lies in the [`Store`] under that
//! name, whole and with a [`Manifest`], or not at all. A [`protocol::Job`] asks a worker for it: [`worker::run`] fills a
//! work folder, reports on the way, and publishes by one rename.
//!
//! Must not know: any particular stage (kinds, settings and summaries are data), in which order stages run, SQL, tensors,
//! images, the command line.

pub mod environment;
pub mod event;
mod event_pipe;
pub mod failure;
pub mod lifeline;
pub mod manifest;
pub mod presence;
pub mod protocol;
pub mod provenance;
pub mod resources;
pub mod signals;
pub mod spec;
pub mod status;
pub mod store;
pub mod time;
pub mod unfinished;
pub mod worker;

pub use environment::Environment;
pub use event::{Event, Progress, Record};
pub use manifest::{Manifest, ManifestInput, Outcome, Score, Subject};
pub use provenance::Provenance;
pub use spec::{Demand, MissingInput, PipelineSpec, StageSpec};
pub use status::{MessageLevel, RunStatus, StageStatus};
pub use store::Store;
pub use time::Timestamp;
