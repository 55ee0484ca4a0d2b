//! Groups of processes, the ranks, that train one network together.
//!
//! - [`Membership`]: which rank a process is.
//! - [`Rendezvous`]: how the ranks find each other: a file, or the address that `torchrun` gives.
//! - [`Identity`]: what has to be equal on all ranks; those that differ refuse each other.
//! - [`Group`]: the collective operations, and errors that say which rank is missing.
//! - [`probe()`]: how fast they are.
//!
//! The operations are those of libtorch's c10d ([`patchwork_libtorch::distributed`]): Gloo between processors, NCCL
//! between GPUs. This crate must not know networks, data sets, stages or how processes are started.

mod connections;
mod error;
mod group;
mod identity;
mod probe;
mod rendezvous;
mod solo;

pub use error::{CollectiveError, Operation};
pub use group::{Group, JoinOptions};
pub use identity::Identity;
pub use patchwork_core::Membership;
pub use patchwork_libtorch::distributed::{Backend, Reduction, has_nccl};
pub use probe::{Probe, probe};
pub use rendezvous::{Hosts, Rendezvous};
