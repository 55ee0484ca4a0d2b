//! Patches for training, copied straight out of the mapped shards.
//!
//! Nothing is decoded: a patch's lines are read from the page cache, and of an image only those.

use std::path::Path;

use memmap2::Mmap;
use patchwork_core::file_error;
use rayon::prelude::*;

use crate::error::DatasetError;
use crate::shards::{CHANNELS, INDEX_FILE, ShardSpec, map_file, read_index, shard_file_name};

/// Values below which a batch is copied on the calling thread: waking others would take longer.
const PARALLEL_VALUES: usize = 1 << 18;

/// Channel values as training sees them: `byte / 127.5 - 1`, in float32.
const VALUES: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        values[byte] = byte as f32 / 127.5 - 1.0;
        byte += 1;
    }
    values
};

/// A prepared data set, mapped for reading from any thread.
pub struct ShardSet {
    spec: ShardSpec,
    shards: Vec<Mmap>,
    labels: Vec<Option<u32>>,
    /// Shard and offset of each image.
    places: Vec<(u32, u64)>,
}

/// Where a patch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchRequest {
    /// The image.
    pub index: usize,
    /// The patch's first line.
    pub row: usize,
    /// The patch's first column, counted in the image after mirroring.
    pub column: usize,
    /// Whether the image is mirrored left to right before the patch is cut out of it.
    pub mirrored: bool,
}

/// The size of a patch in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchSize {
    /// Lines.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PatchSize {
    /// A square patch.
    pub fn square(side: usize) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// Values in a patch of this size, over all channels.
    pub fn values(self) -> usize {
        CHANNELS * self.height * self.width
    }
}

impl ShardSet {
    /// Opens a folder of shards by its index, and checks that every image lies within its shard.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        let index_path = folder.join(INDEX_FILE);
        let index = read_index(&index_path)?;
        let count = index
            .places
            .iter()
            .map(|(shard, _)| *shard as usize + 1)
            .max()
            .unwrap_or(0);
        let shards = (0..count)
            .map(|number| {
                let path = folder.join(shard_file_name(number));
                Ok(map_file(&path, &file_error::open(&path)?)?)
            })
            .collect::<Result<Vec<Mmap>, DatasetError>>()?;
        let image_bytes = index.spec.image_bytes() as u64;
        for (row, (shard, offset)) in index.places.iter().enumerate() {
            let length = shards[*shard as usize].len() as u64;
            if offset
                .checked_add(image_bytes)
                .is_none_or(|end| end > length)
            {
                let problem = format!(
                    "it is too short for image {row} at byte {offset}, which the index names"
                );
                let path = folder.join(shard_file_name(*shard as usize));
                return Err(DatasetError::malformed(&path, problem));
            }
        }
        Ok(Self {
            spec: index.spec,
            shards,
            labels: index.labels,
            places: index.places,
        })
    }

    /// How many images there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an empty set cannot be opened")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Width of an image in pixels.
    pub fn width(&self) -> usize {
        self.spec.width
    }

    /// Height of an image in pixels.
    pub fn height(&self) -> usize {
        self.spec.height
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        CHANNELS
    }

    /// The names of the classes, by label; empty where images have none.
    pub fn class_names(&self) -> &[String] {
        &self.spec.class_names
    }

    /// What the set says of itself: size, classes, transform, source.
    pub fn spec(&self) -> &ShardSpec {
        &self.spec
    }

    /// The class of an image, an index into the class names.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> Option<u32> {
        self.labels[index]
    }

    /// How many images there are of each class.
    pub fn label_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.spec.class_names.len()];
        for label in self.labels.iter().flatten() {
            counts[*label as usize] += 1;
        }
        counts
    }

    /// An image's pixels, as they lie in the file.
    ///
    /// # Shapes
    /// - returns: `[height, width, 3]`, u8
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn pixels(&self, index: usize) -> &[u8] {
        let (shard, offset) = self.places[index];
        &self.shards[shard as usize][offset as usize..][..self.spec.image_bytes()]
    }

    /// Copies a patch as training sees it: `u8 / 127.5 - 1`, in [-1, 1].
    ///
    /// # Shapes
    /// - `out`: `[3, size.height, size.width]`, f32
    pub fn read_patch(
        &self,
        request: PatchRequest,
        size: PatchSize,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        self.gather(&[request], size, out)
    }

    /// Copies a batch of patches of one size, on all threads of the current pool where that pays.
    ///
    /// # Shapes
    /// - `out`: `[requests.len(), 3, size.height, size.width]`, f32, in [-1, 1]
    pub fn gather(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        if out.len() != requests.len() * size.values() {
            return Err(DatasetError::Length {
                what: format!("the buffer for {} patches", requests.len()),
                actual: out.len(),
                expected: requests.len() * size.values(),
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
            let patches = out.chunks_exact_mut(size.values());
            requests
                .iter()
                .zip(patches)
                .for_each(|(request, out)| self.copy(request, size, out));
        } else {
            let patches = out.par_chunks_exact_mut(size.values());
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
        let image = self.pixels(request.index);
        let left = if request.mirrored {
            self.width() - request.column - size.width
        } else {
            request.column
        };
        let (red, rest) = out.split_at_mut(size.height * size.width);
        let (green, blue) = rest.split_at_mut(size.height * size.width);
        let lines = red
            .chunks_exact_mut(size.width)
            .zip(green.chunks_exact_mut(size.width))
            .zip(blue.chunks_exact_mut(size.width));
        for (line, ((red, green), blue)) in lines.enumerate() {
            let start = ((request.row + line) * self.width() + left) * CHANNELS;
            let pixels = image[start..][..size.width * CHANNELS]
                .as_chunks::<CHANNELS>()
                .0;
            let mut write = |column: usize, pixel: &[u8; CHANNELS]| {
                red[column] = VALUES[usize::from(pixel[0])];
                green[column] = VALUES[usize::from(pixel[1])];
                blue[column] = VALUES[usize::from(pixel[2])];
            };
            if request.mirrored {
                pixels
                    .iter()
                    .rev()
                    .enumerate()
                    .for_each(|(column, pixel)| write(column, pixel));
            } else {
                pixels
                    .iter()
                    .enumerate()
                    .for_each(|(column, pixel)| write(column, pixel));
            }
        }
    }
}
