//! Which images of a set are written, and their PNG files, made in parallel and handed over in order.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::png::png;
use super::progress::ExportProgress;
use crate::error::DatasetError;
use crate::loader::ShardSet;
use crate::shards::{INDEX_FILE, read_digests};

/// Images whose PNG files lie in memory at once.
const BATCH: usize = 256;

/// A set and those of its images that are written.
pub(super) struct Selection<'a> {
    pub(super) folder: &'a Path,
    pub(super) set: &'a ShardSet,
    /// By id, ascending.
    pub(super) images: Vec<usize>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(
        folder: &'a Path,
        set: &'a ShardSet,
        drop_duplicates: bool,
    ) -> Result<Self, DatasetError> {
        let images = if drop_duplicates {
            let mut seen = HashSet::new();
            let digests = read_digests(&folder.join(INDEX_FILE))?;
            (0..set.len())
                .filter(|image| seen.insert(digests[*image]))
                .collect()
        } else {
            (0..set.len()).collect()
        };
        Ok(Self {
            folder,
            set,
            images,
        })
    }

    /// Calls `take` with each image's number in the selection, its id and its PNG file, in order.
    pub(super) fn for_each_png(
        &self,
        progress: &mut ExportProgress<'_>,
        mut take: impl FnMut(usize, usize, Vec<u8>) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let mut number = 0;
        for batch in self.images.chunks(BATCH) {
            if progress(number, self.images.len()).is_break() {
                return Err(DatasetError::Interrupted);
            }
            let files: Vec<Vec<u8>> = batch
                .par_iter()
                .map(|image| {
                    let (width, height) = (self.set.width(), self.set.height());
                    png(self.set.pixels(*image), width, height, self.set.channels())
                })
                .collect::<Result<_, _>>()?;
            for (image, file) in batch.iter().zip(files) {
                take(number, *image, file)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// Each image's label, if all have one; none if none has.
    ///
    /// # Errors
    /// [`DatasetError::PartlyLabelled`] if some have one and some have not, for a format that cannot say so.
    pub(super) fn labels(&self) -> Result<Option<Vec<u32>>, DatasetError> {
        let labels: Vec<u32> = self
            .images
            .iter()
            .filter_map(|image| self.set.label(*image))
            .collect();
        match labels.len() {
            0 => Ok(None),
            some if some == self.images.len() => Ok(Some(labels)),
            some => Err(DatasetError::PartlyLabelled {
                labelled: some,
                images: self.images.len(),
            }),
        }
    }
}
