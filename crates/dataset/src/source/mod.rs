//! Where raw images come from.
//!
//! A [`Source`] is a list of named images that can be read in any order from many threads. Most are image files in a
//! `store` (a folder, a zip or tar archive, an LMDB database, Parquet files), of which a layout (`images`, `celeba`,
//! `afhq`, `flowers`) takes some and gives them classes; CIFAR and MNIST are pixels in memory; the emoji ship with
//! the build. A source knows nothing of sizes, transforms or shards, and writes nothing but the digests that it
//! remembers.

mod detect;
mod open;
mod raw;
mod settings;

mod account;
mod codecs;
mod files;
mod limited;
mod listing;
mod names;
mod store;

mod columns;
mod folder;
mod links;
mod lmdb;
mod lmdb_file;
mod parquet;
mod table_labels;
mod tables;
mod tar;
mod tar_walk;
mod zip;

mod afhq;
mod celeba;
mod flowers;
mod images;
mod matlab;

mod batches;
mod cifar;
mod mnist;
mod pixels;
mod twemoji;

mod cache;
mod cache_file;

pub use account::{Account, PassedOver, classes_text};
pub use cache::SourceCache;
pub use codecs::codecs;
pub use limited::limited;
pub use open::{class_counts, open};
pub use raw::{Entry, Fetched, Payload, PixelFormat, RawImage, Rejection, Source};
pub use settings::{Format, Labels, SourceSettings, Split};
pub use twemoji::EmojiFilter;
