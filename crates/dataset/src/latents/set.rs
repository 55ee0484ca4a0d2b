//! A set of latents, mapped, and patches out of it: sampled again from each image's distribution whenever one is asked for.

use std::path::Path;
use std::sync::Arc;

use patchwork_core::{RandomStream, Seed};
use rayon::prelude::*;

use half::f16;

use super::scaling::Scaling;
use super::spec::{LatentSpec, LatentStatistics, decode};
use crate::error::DatasetError;
use crate::loader::{Mapped, PARALLEL_VALUES, PatchRequest, PatchSize};

/// A set of latents, mapped for reading from any thread; a clone is another handle on the same mapping.
#[derive(Clone)]
pub struct LatentSet(Arc<Inner>);

struct Inner {
    files: Mapped<LatentSpec>,
    statistics: LatentStatistics,
}

/// Which latents of an image are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// The means.
    Mean,
    /// Draws from the distributions, a function of this seed and of the request's position.
    Sample(Seed),
}

impl LatentSet {
    /// Opens a folder of latents by its index, and checks that every image lies within its shard.
    ///
    /// # Errors
    /// [`DatasetError::OtherFormat`] for a set of pixels; as [`ShardSet::open`](crate::ShardSet::open).
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        let files = Mapped::<LatentSpec>::open(folder)?;
        let index = folder.join(crate::shards::INDEX_FILE);
        let statistics =
            LatentStatistics::from_metadata(&index, &files.metadata, files.spec.channels)?;
        Ok(Self(Arc::new(Inner { files, statistics })))
    }

    /// How many images there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an empty set cannot be opened")]
    pub fn len(&self) -> usize {
        self.0.files.len()
    }

    /// What the set says of itself: sizes, classes, autoencoder, pixel range.
    pub fn spec(&self) -> &LatentSpec {
        &self.0.files.spec
    }

    /// Mean and standard deviation of each channel over the set.
    pub fn statistics(&self) -> &LatentStatistics {
        &self.0.statistics
    }

    /// The class of an image, an index into the class names.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> Option<u32> {
        self.0.files.labels[index]
    }

    /// How many images there are of each class.
    pub fn label_counts(&self) -> Vec<u64> {
        self.0.files.label_counts()
    }

    /// An image's raw mean and log-variance.
    ///
    /// # Shapes
    /// - returns: two of `[channels, height, width]`
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn moments(&self, index: usize) -> (Vec<f32>, Vec<f32>) {
        let mut mean = decode(self.0.files.record(index));
        let log_variance = mean.split_off(self.spec().values());
        (mean, log_variance)
    }

    /// Copies a batch of patches of one size, scaled, on all threads of the current pool where that pays.
    ///
    /// # Shapes
    /// - `out`: `[requests.len(), channels, size.height, size.width]`, f32
    ///
    /// # Determinism
    /// A patch depends on its request, the scaling and the seed alone.
    ///
    /// # Errors
    /// [`DatasetError::OutOfBounds`], [`DatasetError::Length`], and [`DatasetError::Setting`] for a mirrored request.
    pub fn gather(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
        scaling: &Scaling,
        draw: Draw,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        let values = self.spec().channels * size.height * size.width;
        if out.len() != requests.len() * values {
            return Err(DatasetError::Length {
                what: format!("the buffer for {} patches", requests.len()),
                actual: out.len(),
                expected: requests.len() * values,
            });
        }
        for request in requests {
            self.check(request, size)?;
        }
        if out.is_empty() {
            return Ok(());
        }
        let copy = |(request, out): (&PatchRequest, &mut [f32])| {
            self.copy(request, size, scaling, draw, out);
        };
        if out.len() < PARALLEL_VALUES {
            requests
                .iter()
                .zip(out.chunks_exact_mut(values))
                .for_each(copy);
        } else {
            requests
                .par_iter()
                .zip(out.par_chunks_exact_mut(values))
                .for_each(copy);
        }
        Ok(())
    }

    fn check(&self, request: &PatchRequest, size: PatchSize) -> Result<(), DatasetError> {
        let spec = self.spec();
        let within = |start: usize, length: usize, side: usize| {
            start.checked_add(length).is_some_and(|end| end <= side)
        };
        if request.mirrored {
            return Err(DatasetError::Setting {
                setting: "mirror_probability",
                value: "above 0".to_owned(),
                problem: "a mirrored latent is not the latent of the mirrored image; mirror images before they are \
                          encoded (`mirror` of the prepare stage)"
                    .to_owned(),
            });
        }
        if request.index < self.len()
            && within(request.row, size.height, spec.height)
            && within(request.column, size.width, spec.width)
        {
            return Ok(());
        }
        Err(DatasetError::OutOfBounds {
            request: format!("{request:?} of {} x {} latents", size.width, size.height),
            images: self.len(),
            width: spec.width,
            height: spec.height,
        })
    }

    /// Copies a patch that lies within the image.
    fn copy(
        &self,
        request: &PatchRequest,
        size: PatchSize,
        scaling: &Scaling,
        draw: Draw,
        out: &mut [f32],
    ) {
        let spec = self.spec();
        let halves = self.0.files.record(request.index).as_chunks::<2>().0;
        let (means, log_variances) = halves.split_at(spec.values());
        let mut noise = match draw {
            Draw::Mean => None,
            Draw::Sample(seed) => Some(Normals::new(seed.at(request.position))),
        };
        for (number, line) in out.chunks_exact_mut(size.width).enumerate() {
            let (channel, row) = (number / size.height, number % size.height);
            let (shift, scale) = (scaling.shift[channel] as f32, scaling.scale[channel] as f32);
            let start = (channel * spec.height + request.row + row) * spec.width + request.column;
            let at = start..start + size.width;
            let moments = means[at.clone()].iter().zip(&log_variances[at]);
            for (value, (mean, log_variance)) in line.iter_mut().zip(moments) {
                let mut raw = f16::from_le_bytes(*mean).to_f32();
                if let Some(noise) = &mut noise {
                    let deviation = (f16::from_le_bytes(*log_variance).to_f32() * 0.5).exp();
                    raw += deviation * noise.next();
                }
                *value = (raw - shift) * scale;
            }
        }
    }
}

/// Standard normal draws, two at a time (Box and Muller 1958).
struct Normals {
    uniforms: RandomStream,
    second: Option<f32>,
}

impl Normals {
    fn new(seed: Seed) -> Self {
        Self {
            uniforms: seed.stream(),
            second: None,
        }
    }

    fn next(&mut self) -> f32 {
        if let Some(second) = self.second.take() {
            return second;
        }
        let radius = (-2.0 * (1.0 - self.uniforms.uniform()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniforms.uniform()).sin_cos();
        self.second = Some((radius * sin) as f32);
        (radius * cos) as f32
    }
}
