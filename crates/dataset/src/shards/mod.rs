//! The format `patchwork.shards/1`: a folder of Parquet files with an index of where each image's pixels lie.
//!
//! - `shard-00000.parquet`, ...: one row an image; columns `id` (UInt64, dense from 0 over the set), `key`
//!   (Utf8), `label` (Int32, nullable), `image` (FixedSizeBinary, `[height, width, channels]` u8), `digest`
//!   (FixedSizeBinary(16), BLAKE3 of the pixels, truncated), `source_width`, `source_height` (UInt16). One row
//!   group, and the image column in one uncompressed PLAIN page: the pixels of a shard lie contiguous.
//! - `index.parquet`: `id`, `label`, `shard`, `offset` (of the first pixel byte in the shard file), `digest`,
//!   and mean and standard deviation of each channel, in 0..=255: `mean_r`, ..., `std_b`, or `mean_l` and `std_l` of
//!   grey images.
//! - `rejected.parquet`: `key` and `cause` of each image that was left out.
//!
//! Each file's key-value metadata holds the format, size, channels, class names and the writer's own entries. The bytes
//! are a function of the rows alone, so that a set made in two attempts equals one made in one.

mod channels;
mod digest;
mod file;
mod index;
mod keys;
pub(crate) mod metadata;
mod record;
mod set_writer;
mod spec;
mod verify;
mod write;

pub use channels::Channels;
pub(crate) use channels::{channel_names, color_type};
pub use keys::KeyReader;
pub use metadata::FORMAT;
pub use record::{Moments, SetSpec};
pub use set_writer::ShardSetWriter;
pub use spec::{INDEX_FILE, REJECTED_FILE, Rejected, Row, ShardSpec, is_prepared};

pub(crate) use index::{read_digests, read_index};
pub(crate) use spec::shard_file_name;
pub use verify::{Fault, Verified, verify};
