//! What a pipeline file says of a source.

use std::path::PathBuf;

pub use patchwork_terms::{Format, Labels, Split};

use super::twemoji::EmojiFilter;

/// Which images to take, and what their classes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// `builtin:twemoji`, or the path of a folder or file.
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
    pub emoji: EmojiFilter,
    /// Folders, without links in their paths, that are no part of a folder that holds them: where this program writes.
    pub without: Vec<PathBuf>,
}

impl SourceSettings {
    /// The split to take of a data set of this format.
    pub(super) fn part(&self, format: Format) -> Split {
        self.split.unwrap_or(match format {
            Format::AfhqV2 | Format::Cifar10 | Format::Cifar100 | Format::Mnist => Split::Train,
            Format::Images
            | Format::CelebA
            | Format::Flowers102
            | Format::Lmdb
            | Format::Parquet
            | Format::WebDataset => Split::All,
        })
    }
}
