//! What a data set holds, as small tables for people, computed by polars from its index and its shards' columns.
//!
//! [`inspect`] says what is in it: counts, classes, duplicates, rejected images. [`stats`] says what it looks like:
//! channels, sizes in the source, flat images. [`inspect_source`] says the same of a raw source, as far as it can be
//! said before anything is made of it.

mod contents;
mod frame;
mod raw;
mod statistics;
mod table;

use std::path::Path;

use polars::prelude::*;

use crate::error::DatasetError;

pub use contents::inspect;
pub use raw::{Look, inspect_source, look};
pub use statistics::{Sizes, sizes_in_source, stats};
pub use table::Table;

fn failed(path: &Path, source: PolarsError) -> DatasetError {
    DatasetError::Table {
        path: path.to_owned(),
        source,
    }
}

/// The rows of a group of a frame.
fn rows_of(group: &GroupsIndicator<'_>) -> Vec<usize> {
    match group {
        GroupsIndicator::Idx((_, rows)) => rows.iter().map(|row| *row as usize).collect(),
        GroupsIndicator::Slice([first, length]) => {
            (*first as usize..(first + length) as usize).collect()
        }
    }
}
