//! What a pipeline file says of a source.

use std::path::PathBuf;

pub use patchwork_terms::{Format, Labels, Split};

use serde::Serialize;

use super::twemoji::EmojiFilter;

/// Which images to take, and what their classes are.
///
/// Serialises to what says which of the source's images are read, apart from its path: by this, digests of sources are
/// remembered, so that a new field is left out where it has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceSettings {
    /// `builtin:twemoji`, or the path of a folder or file.
    #[serde(skip)]
    pub source: String,
    /// How it lies on disk; none = what its content looks like.
    pub format: Option<Format>,
    /// The split to take; none = what the format's users take: see `docs/reference/data-sets.md`.
    pub split: Option<Split>,
    /// What gives an image its class.
    pub labels: Labels,
    /// The attributes of CelebA that make classes.
    pub attributes: Vec<String>,
    /// The classes to keep, by name; none = all.
    pub classes: Option<Vec<String>>,
    /// Which emoji to take; of no meaning for others.
    #[serde(skip)]
    pub emoji: EmojiFilter,
    /// Folders, without links in their paths, that are not part of a folder that holds them: where this program writes.
    #[serde(skip)]
    pub without: Vec<PathBuf>,
}
