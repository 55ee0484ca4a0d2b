//! Raw images to shards, and shards to training patches.
//!
//! Data flows one way: a [`source`] yields raw images; [`prepare()`] composes, crops and resizes them
//! ([`decode`], [`compose`], [`transform`]) and writes a [`shards`] folder (`patchwork.shards/1`, with its
//! pre-index); a [`loader`] maps that folder and copies patches straight out of it, in the order
//! that [`order`] gives. [`inspect`] and [`grid`] show a folder to people, [`export`] writes it for other programs,
//! [`verify`] finds what is damaged in it.
//!
//! Sets of [`latents`] lie on disk in the same way.
//!
//! The only crate with arrow, parquet and image codecs. It knows nothing of tensors, networks,
//! pipelines, SQL or the command line, and builds without libtorch.

pub mod animation;
pub mod compose;
pub mod decode;
pub mod error;
pub mod export;
pub mod grid;
pub mod inspect;
pub mod latents;
pub mod loader;
pub mod order;
pub mod prepare;
mod resample;
pub mod shards;
mod simd;
mod size;
pub mod source;
pub mod transform;

pub use error::DatasetError;
pub use latents::{LatentSet, LatentSpec};
pub use loader::{Fetched, PatchRequest, PatchSize, PatchStream, Prefetch, ShardSet, Share};
pub use order::Order;
pub use prepare::{DepthSeen, PrepareSettings, Progress, Summary, prepare};
pub use shards::{
    Channels, Fault, KeyReader, Rejected, Row, ShardSetWriter, ShardSpec, Verified, verify,
};
pub use source::{Source, SourceCache, SourceSettings};
