//! Where raw images come from.
//!
//! A [`Source`] is a list of named images that can be read in any order from many threads: a folder of
//! files, or pictures that ship with the build. It knows nothing of sizes, transforms or shards.

mod cache;
mod folder;
mod listing;
mod open;
mod raw;
mod twemoji;

pub use cache::SourceCache;
pub use open::{Labels, SourceSettings, open};
pub use raw::{Entry, PixelFormat, RawImage, Rejection, Source};
pub use twemoji::EmojiFilter;
