//! Patches for training, copied straight out of the mapped shards.
//!
//! Nothing is decoded: of an image only the patch's lines are read, from the page cache, and turned into float32
//! planes on the way. [`PatchStream`] says which patch each position of the training is, so that the loader's whole
//! state is one number: the position. [`ShardSet::gather`] copies a batch; [`Prefetch`] does so on a thread of its
//! own while the step before it is computed.

mod convert;
mod mapped;
mod patch;
mod prefetch;
mod set;
mod stream;

pub(crate) use mapped::Mapped;
pub use patch::{PatchRequest, PatchSize};
pub use prefetch::{Fetched, Prefetch};
pub(crate) use set::PARALLEL_VALUES;
pub use set::ShardSet;
pub use stream::{PatchStream, Share};
