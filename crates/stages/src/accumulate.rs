//! Features of a shard set, summed in a fixed order and durable after every stretch of images.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_metrics::{Extractor, Moments};
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use patchwork_pipeline::worker::StageError;
use tch::Tensor;

/// Batches between two durable points.
const BATCHES_PER_STRETCH: usize = 10;

/// The moments of the even-numbered and of the odd-numbered images.
pub(crate) struct Halves {
    pub(crate) even: Moments,
    pub(crate) odd: Moments,
}

impl Halves {
    fn new(dimension: i64) -> Self {
        Self {
            even: Moments::new(dimension),
            odd: Moments::new(dimension),
        }
    }

    /// The moments of all images.
    pub(crate) fn whole(&self) -> Result<Moments, StageError> {
        let mut whole = Moments::new(self.even.dimension());
        whole.merge(&self.even)?;
        whole.merge(&self.odd)?;
        Ok(whole)
    }

    fn count(&self) -> i64 {
        self.even.count() + self.odd.count()
    }

    /// The bytes of a safetensors file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StageError> {
        let named = |prefix: &'static str, moments: &Moments| {
            moments
                .to_tensors()
                .into_iter()
                .map(move |(name, tensor)| (format!("{prefix}/{name}"), tensor))
        };
        let tensors: Vec<(String, Tensor)> = named("even", &self.even)
            .chain(named("odd", &self.odd))
            .collect();
        Ok(to_safetensors_bytes(&tensors, None)?)
    }

    /// Reads a file of [`Halves::to_bytes`].
    pub(crate) fn read(path: &Path) -> Result<Self, StageError> {
        let tensors = read_safetensors(path)?;
        let half = |prefix: &str| {
            let half: BTreeMap<String, Tensor> = tensors
                .iter()
                .filter_map(|(name, tensor)| {
                    Some((
                        name.strip_prefix(prefix)?.to_owned(),
                        tensor.shallow_clone(),
                    ))
                })
                .collect();
            Moments::from_tensors(&half)
        };
        Ok(Self {
            even: half("even/")?,
            odd: half("odd/")?,
        })
    }
}

/// Where images come from: a shard set, or something drawn.
pub(crate) trait Images {
    /// How many there are.
    fn count(&self) -> usize;
    /// Some of them.
    ///
    /// # Shapes
    /// - returns: `[range.len(), 3, height, width]`, u8
    fn batch(&self, range: std::ops::Range<usize>) -> Tensor;
}

impl Images for ShardSet {
    fn count(&self) -> usize {
        self.len()
    }

    fn batch(&self, range: std::ops::Range<usize>) -> Tensor {
        let count = range.len() as i64;
        let pixels: Vec<u8> = range
            .flat_map(|index| self.pixels(index))
            .copied()
            .collect();
        Tensor::from_slice(&pixels)
            .reshape([
                count,
                self.height() as i64,
                self.width() as i64,
                self.channels() as i64,
            ])
            .permute([0, 3, 1, 2])
    }
}

/// Sums the features of all images, in batches of a fixed size, going on where an earlier attempt stopped.
///
/// `state` is rewritten at every durable point; `report` is told how many images are done and how many were
/// done already, and says whether to stop.
pub(crate) fn accumulate(
    images: &dyn Images,
    extractor: &dyn Extractor,
    batch_size: usize,
    state: &Path,
    report: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Halves, StageError> {
    let mut halves = if state.is_file() {
        Halves::read(state)?
    } else {
        Halves::new(extractor.dimension())
    };
    let resumed = halves.count() as usize;
    let mut done = resumed;
    report(done, resumed);
    while done < images.count() {
        for _ in 0..BATCHES_PER_STRETCH {
            let end = images.count().min(done + batch_size);
            if done == end {
                break;
            }
            let features = extractor.features(&images.batch(done..end))?;
            for (first, moments) in [(0, &mut halves.even), (1, &mut halves.odd)] {
                // Batches begin at any number: the first image of a half depends on it.
                let offset = (first + done % 2) % 2;
                if offset < end - done {
                    moments.accumulate(&features.slice(0, offset as i64, None, 2))?;
                }
            }
            done = end;
            if report(done, resumed) && done < images.count() {
                durable::write(state, &halves.to_bytes()?)?;
                return Err(StageError::Interrupted);
            }
        }
        durable::write(state, &halves.to_bytes()?)?;
    }
    Ok(halves)
}
