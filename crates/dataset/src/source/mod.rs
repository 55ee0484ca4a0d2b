//! Where raw images come from.
//!
//! A [`Source`] is a list of named images that can be read in any order from many threads. How a data set lies on disk is
//! a `SourceFormat`; all stand in the table of `formats`. Most are image files in a `store` (a folder, a zip or tar
//! archive, an LMDB database, Parquet files), of which the format selects some and gives them classes; CIFAR and MNIST are
//! pixels in memory; the emoji ship with the build. A source knows nothing of sizes, transforms or shards, and writes
//! nothing but the digests that it remembers.

mod open;
mod raw;
mod settings;

mod assemble;
mod classes;
mod format;
mod formats;
mod rules;

mod account;
mod any_store;
mod codecs;
mod detect;
mod files;
mod limited;
mod listing;
mod names;
mod splits;
mod store;
mod store_labels;

mod columns;
mod folder;
mod links;
mod lmdb;
mod lmdb_file;
mod parquet;
mod table_labels;
mod tables;
mod tar;
mod tar_compression;
mod tar_readers;
mod tar_walk;
mod webdataset;
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
mod subset;

pub use account::{Account, PassedOver, classes_text};
pub use cache::SourceCache;
pub use classes::class_counts;
pub use codecs::codecs;
pub use limited::limited;
pub use open::open;
pub use raw::{Entry, Fetched, Payload, PixelFormat, RawImage, Rejection, Source};
pub use settings::{Format, Labels, SourceSettings, Split};
pub use subset::subset;
pub use twemoji::EmojiFilter;
