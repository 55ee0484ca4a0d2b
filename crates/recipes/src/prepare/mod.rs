//! The kind `prepare`: raw images to a sharded data set.

mod color;
mod job;
mod recipe;
mod settings;
pub mod source;

pub use job::{Places, PrepareJob};
pub use settings::{EmojiSettings, PrepareSettings};
