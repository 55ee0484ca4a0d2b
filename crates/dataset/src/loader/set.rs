//! A prepared data set, mapped, and the copying of patches out of it.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::convert::{Cut, copy_patch};
use super::mapped::Mapped;
use super::patch::{PatchRequest, PatchSize};
use crate::error::DatasetError;
use crate::shards::{Channels, ShardSpec};

/// Values below which a batch is copied on the calling thread: waking others would take longer.
pub(crate) const PARALLEL_VALUES: usize = 1 << 20;

/// A prepared data set, mapped for reading from any thread; a clone is another handle on the same mapping.
#[derive(Clone)]
pub struct ShardSet(Arc<Mapped<ShardSpec>>);

impl ShardSet {
    /// Opens a folder of shards by its index, and checks that every image lies within its shard.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        Ok(Self(Arc::new(Mapped::open(folder)?)))
    }

    /// How many images there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an empty set cannot be opened")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Width of an image in pixels.
    pub fn width(&self) -> usize {
        self.0.spec.width
    }

    /// Height of an image in pixels.
    pub fn height(&self) -> usize {
        self.0.spec.height
    }

    /// What a pixel holds.
    pub fn channels(&self) -> Channels {
        self.0.spec.channels
    }

    /// The names of the classes, by label; empty where images have none.
    pub fn class_names(&self) -> &[String] {
        &self.0.spec.class_names
    }

    /// What the set says of itself: size, classes, transform, source.
    pub fn spec(&self) -> &ShardSpec {
        &self.0.spec
    }

    /// The class of an image, an index into the class names.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> Option<u32> {
        self.0.labels[index]
    }

    /// The classes of a batch's images, as a classifier's labels; -1 for an image without one.
    ///
    /// # Panics
    /// If a request's image is not below [`len`](Self::len).
    pub fn gather_labels(&self, requests: &[PatchRequest]) -> Vec<i64> {
        let label = |request: &PatchRequest| self.label(request.index).map_or(-1, i64::from);
        requests.iter().map(label).collect()
    }

    /// How many images there are of each class.
    pub fn label_counts(&self) -> Vec<u64> {
        self.0.label_counts()
    }

    /// The shard that holds an image, and its row there.
    pub(crate) fn place(&self, index: usize) -> (usize, usize) {
        self.0.place(index)
    }

    /// An image's pixels, as they lie in the file.
    ///
    /// # Shapes
    /// - returns: `[height, width, channels]`, u8
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn pixels(&self, index: usize) -> &[u8] {
        self.0.record(index)
    }

    /// An image's pixels in colour: of grey ones, each channel the same.
    ///
    /// # Shapes
    /// - returns: `[height, width, 3]`, u8
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn rgb_pixels(&self, index: usize) -> Cow<'_, [u8]> {
        let pixels = self.pixels(index);
        match self.channels() {
            Channels::Rgb => Cow::Borrowed(pixels),
            Channels::Grey => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
        }
    }

    /// Copies a batch of patches of one size as training sees them, `u8 / 127.5 - 1`, on all threads of the current pool
    /// where that pays.
    ///
    /// # Shapes
    /// - `out`: `[requests.len(), channels, size.height, size.width]`, f32, in [-1, 1]
    pub fn gather(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        let values = size.values(self.channels());
        if out.len() != requests.len() * values {
            return Err(DatasetError::Length {
                what: format!("the buffer for {} patches", requests.len()),
                actual: out.len(),
                expected: requests.len() * values,
            });
        }
        if let Some(request) = requests
            .iter()
            .find(|request| !self.contains(request, size))
        {
            return Err(DatasetError::OutOfBounds {
                request: format!("{request:?} of {} x {} pixels", size.width, size.height),
                images: self.len(),
                width: self.width(),
                height: self.height(),
            });
        }
        if out.is_empty() {
            return Ok(());
        }
        if out.len() < PARALLEL_VALUES {
            let patches = out.chunks_exact_mut(values);
            requests
                .iter()
                .zip(patches)
                .for_each(|(request, out)| self.copy(request, size, out));
        } else {
            let patches = out.par_chunks_exact_mut(values);
            requests
                .par_iter()
                .zip(patches)
                .for_each(|(request, out)| self.copy(request, size, out));
        }
        Ok(())
    }

    fn contains(&self, request: &PatchRequest, size: PatchSize) -> bool {
        let within = |start: usize, length: usize, side: usize| {
            start.checked_add(length).is_some_and(|end| end <= side)
        };
        request.index < self.len()
            && within(request.row, size.height, self.height())
            && within(request.column, size.width, self.width())
    }

    /// Copies a patch that lies within the image.
    fn copy(&self, request: &PatchRequest, size: PatchSize, out: &mut [f32]) {
        let left = if request.mirrored {
            self.width() - request.column - size.width
        } else {
            request.column
        };
        let cut = Cut {
            channels: self.channels(),
            image_width: self.width(),
            row: request.row,
            left,
            size,
            mirrored: request.mirrored,
        };
        copy_patch(self.pixels(request.index), cut, out);
    }
}
