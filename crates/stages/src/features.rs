//! Features of a set of images, several kinds in one pass, durable after every batch.
//!
//! Each batch's features become one file of the stage's state, float32 as the extractors gave them. Whatever is
//! computed from them reads these files in their order, so that a break changes no bit of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use patchwork_artifacts::worker::StageError;
use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_metrics::{Extraction, Gaussian, Moments};
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use tch::Tensor;

use crate::shares::{Shares, done_in_all};

/// Rows that are summed at once: enough to keep the processor busy with one product of matrices.
const ROWS_AT_ONCE: usize = 2048;

/// Where images come from: a shard set, or a sampler.
pub(crate) trait Images {
    /// How many there are.
    fn count(&self) -> usize;
    /// Some of them.
    ///
    /// # Shapes
    /// - returns: `[range.len(), 3, height, width]`, u8
    ///
    /// # Errors
    /// Where images are made as they are asked for, and making them fails.
    fn batch(&self, range: Range<usize>) -> Result<Tensor, StageError>;
}

impl Images for ShardSet {
    fn count(&self) -> usize {
        self.len()
    }

    fn batch(&self, range: Range<usize>) -> Result<Tensor, StageError> {
        let count = range.len() as i64;
        let pixels: Vec<u8> = range
            .flat_map(|index| self.pixels(index))
            .copied()
            .collect();
        let shape = [
            count,
            self.height() as i64,
            self.width() as i64,
            self.channels().count() as i64,
        ];
        let images = Tensor::from_slice(&pixels).reshape(shape);
        Ok(in_color(&images.permute([0, 3, 1, 2])))
    }
}

/// Some images of a set, evenly over it.
pub(crate) struct Evenly<'a> {
    pub(crate) all: &'a dyn Images,
    pub(crate) count: usize,
}

impl<'a> Evenly<'a> {
    /// At most `most` of them.
    pub(crate) fn of(all: &'a dyn Images, most: usize) -> Self {
        let count = usize::min(all.count(), most);
        Self { all, count }
    }

    /// The number in the set of one of these images.
    pub(crate) fn index(&self, number: usize) -> usize {
        number * self.all.count() / self.count
    }
}

impl Images for Evenly<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, range: Range<usize>) -> Result<Tensor, StageError> {
        let images = range
            .map(|number| {
                let index = self.index(number);
                self.all.batch(index..index + 1)
            })
            .collect::<Result<Vec<Tensor>, StageError>>()?;
        Ok(Tensor::cat(&images, 0))
    }
}

/// Images as extractors see them: grey is the colour with three equal channels.
///
/// # Shapes
/// - `images`: `[n, 1 or 3, height, width]`
/// - returns: `[n, 3, height, width]`
pub(crate) fn in_color(images: &Tensor) -> Tensor {
    match images.size()[1] {
        1 => images.expand([-1, 3, -1, -1], false),
        _ => images.shallow_clone(),
    }
}

/// The moments of the even-numbered and of the odd-numbered images.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) even: Moments,
    pub(crate) odd: Moments,
}

impl Halves {
    /// Mean and covariance of all images.
    pub(crate) fn whole(&self) -> Result<Gaussian, StageError> {
        let mut whole = Moments::new(self.even.dimension());
        whole.merge(&self.even)?;
        whole.merge(&self.odd)?;
        Ok(whole.gaussian()?)
    }
}

/// Features of a set, on disk.
#[derive(Debug)]
pub(crate) struct FeatureStore {
    folder: PathBuf,
    batch_size: usize,
    count: usize,
    /// The name of each kind of features, and its width.
    streams: Vec<(String, i64)>,
}

/// A file of features is not what this stage wrote.
#[derive(Debug, thiserror::Error)]
#[error("`{}` holds no features `{stream}` of {images} images: delete its folder and run this again", path.display())]
struct Damaged {
    path: PathBuf,
    stream: String,
    images: usize,
}

impl FeatureStore {
    /// Takes the features of all images, resuming where an earlier attempt stopped; beside rank 0 those of a share, so that
    /// the rest need not be there yet.
    ///
    /// `folder` is this set's own; `report` gets the number of finished images and of those resumed, and
    /// says whether to stop.
    pub(crate) fn fill(
        images: &dyn Images,
        extraction: &Extraction,
        batch_size: usize,
        folder: &Path,
        shares: Shares<'_>,
        report: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Self, StageError> {
        durable::create_dir_all(folder)?;
        // Of ranks, another may be writing one.
        if shares.ranks() == 1 {
            durable::remove_partials(folder)?;
        }
        let store = Self {
            folder: folder.to_owned(),
            batch_size,
            count: images.count(),
            streams: (extraction.streams().iter())
                .map(|stream| (extraction.stream_name(stream), stream.dimension))
                .collect(),
        };
        let batches = store.batches();
        let is_there = |number: usize| store.path(number).is_file();
        let of_batch = |number: usize| store.range(number..number + 1);
        let there = (0..batches).filter(|&number| is_there(number));
        let resumed = there.map(|number| of_batch(number).len()).sum();
        report(resumed, resumed);
        let mut own = 0;
        for number in (0..batches).filter(|&number| shares.membership().has(number)) {
            if is_there(number) {
                continue;
            }
            let range = of_batch(number);
            own += range.len();
            let images = images.batch(range.clone())?;
            let features = extraction.features(&images, range.start as u64)?;
            let named: Vec<(String, Tensor)> = (store.streams.iter())
                .map(|(name, _)| name.clone())
                .zip(features)
                .collect();
            durable::write(
                &store.path(number),
                &to_safetensors_bytes(&named, &BTreeMap::new())?,
            )?;
            let done = done_in_all(shares.membership(), own, resumed, store.count);
            if report(done, resumed) && done < store.count {
                return Err(StageError::Interrupted);
            }
        }
        if shares.is_first() {
            let mut next = 0;
            shares.wait_until(|| {
                while next < batches && is_there(next) {
                    next += 1;
                }
                next == batches
            })?;
        }
        Ok(store)
    }

    /// How many images they are of.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The moments of the even-numbered and of the odd-numbered images.
    pub(crate) fn moments(&self, stream: usize) -> Result<Halves, StageError> {
        let (_, dimension) = self.streams[stream];
        let mut halves = Halves {
            even: Moments::new(dimension),
            odd: Moments::new(dimension),
        };
        let batches_at_once = std::cmp::max(1, ROWS_AT_ONCE / self.batch_size);
        for first in (0..self.batches()).step_by(batches_at_once) {
            let numbers = first..std::cmp::min(first + batches_at_once, self.batches());
            let start = self.range(numbers.clone()).start;
            let features = self.batches_of(stream, numbers)?;
            for (parity, half) in [(0, &mut halves.even), (1, &mut halves.odd)] {
                // Any image may be the first: the first one of a half depends on it.
                let offset = (start + parity) % 2;
                if (offset as i64) < features.size()[0] {
                    half.accumulate(&features.slice(0, offset as i64, None, 2))?;
                }
            }
        }
        Ok(halves)
    }

    /// The features of some images: `[images.len(), dimension]`, f32.
    pub(crate) fn rows(&self, stream: usize, images: &[i64]) -> Result<Tensor, StageError> {
        let all = self.all(stream)?;
        Ok(all.index_select(0, &Tensor::from_slice(images)))
    }

    /// The features of all images: `[count, dimension]`, f32.
    pub(crate) fn all(&self, stream: usize) -> Result<Tensor, StageError> {
        self.batches_of(stream, 0..self.batches())
    }

    fn batches_of(&self, stream: usize, numbers: Range<usize>) -> Result<Tensor, StageError> {
        let parts = numbers
            .map(|number| self.batch(stream, number))
            .collect::<Result<Vec<_>, _>>()?;
        let (_, dimension) = self.streams[stream];
        Ok(if parts.is_empty() {
            Tensor::zeros([0, dimension], (tch::Kind::Float, tch::Device::Cpu))
        } else {
            Tensor::cat(&parts, 0)
        })
    }

    fn batch(&self, stream: usize, number: usize) -> Result<Tensor, StageError> {
        let path = self.path(number);
        let (name, dimension) = &self.streams[stream];
        let images = self.range(number..number + 1).len();
        let mut tensors = read_safetensors(&path)?;
        tensors
            .remove(name)
            .filter(|tensor| tensor.size() == [images as i64, *dimension])
            .ok_or_else(|| {
                StageError::from(Damaged {
                    path,
                    stream: name.clone(),
                    images,
                })
            })
    }

    fn batches(&self) -> usize {
        self.count.div_ceil(self.batch_size)
    }

    /// The images of some batches.
    fn range(&self, batches: Range<usize>) -> Range<usize> {
        let place = |batch: usize| std::cmp::min(batch * self.batch_size, self.count);
        place(batches.start)..place(batches.end)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number:06}.safetensors"))
    }
}
