//! The ground that every other crate stands on: digests, fingerprints, seeds, limits that several of them keep,
//! and the one place that makes bytes permanent.
//!
//! Knows nothing of images, tensors, SQL or the command line, and builds without libtorch.

pub mod canonical;
pub mod digest;
pub mod durable;
pub mod fault;
pub mod file_error;
pub mod fingerprint;
pub mod hex;
pub mod limits;
pub mod lock;
pub mod membership;
pub mod name;
pub mod seed;
pub mod work_folder;

pub use digest::Digest;
pub use file_error::FileError;
pub use fingerprint::Fingerprint;
pub use membership::Membership;
pub use seed::{RandomStream, Seed};
pub use work_folder::{ClaimError, WorkFolder};
