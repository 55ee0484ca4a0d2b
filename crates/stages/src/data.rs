//! What a network is trained on: the pixels of a data set, or the latents of an autoencoder.

use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::worker::StageError;
use patchwork_core::Seed;
use patchwork_dataset::latents::{Draw, Scaling};
use patchwork_dataset::{DatasetError, LatentSet, PatchRequest, PatchSize, PatchStream, ShardSet};
use patchwork_networks::LatentConfig;
use patchwork_recipes::TrainSettings;
use patchwork_terms::{Kind, LatentScaling};

use crate::job::{input, inputs};

/// The data of a training; a clone is another handle on the same files.
#[derive(Clone)]
pub(crate) enum TrainingData {
    /// A data set.
    Pixels(ShardSet),
    /// The latents of one.
    Latents(Latents),
}

/// Latents as a network sees them.
#[derive(Clone)]
pub(crate) struct Latents {
    pub(crate) set: LatentSet,
    pub(crate) scaling: Scaling,
    /// From which each patch is sampled again.
    draws: Seed,
}

impl TrainingData {
    /// The data that a train stage reads; `seed` is that of the training.
    pub(crate) fn open(
        job: &Job,
        settings: &TrainSettings,
        seed: Seed,
    ) -> Result<Self, StageError> {
        let Some(encoded) = encoded(job) else {
            let prepared = input(job, Kind::Prepare)?;
            return Ok(Self::Pixels(ShardSet::open(&prepared.folder)?));
        };
        let set = LatentSet::open(&encoded.folder)?;
        let kind = settings.scaling.unwrap_or(LatentScaling::Sd);
        let scaling = Scaling::of(kind, set.spec(), set.statistics(), settings.sigma_data)?;
        let draws = seed.derive("latents");
        Ok(Self::Latents(Latents {
            set,
            scaling,
            draws,
        }))
    }

    /// How many images there are; at least one.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Pixels(set) => set.len(),
            Self::Latents(latents) => latents.set.len(),
        }
    }

    /// The size of an image as the network sees it.
    pub(crate) fn size(&self) -> PatchSize {
        match self {
            Self::Pixels(set) => PatchSize {
                height: set.height(),
                width: set.width(),
            },
            Self::Latents(latents) => PatchSize {
                height: latents.set.spec().height,
                width: latents.set.spec().width,
            },
        }
    }

    /// The channels that the network sees.
    pub(crate) fn channels(&self) -> usize {
        match self {
            Self::Pixels(set) => set.channels().count(),
            Self::Latents(latents) => latents.set.spec().channels,
        }
    }

    /// The names of the classes, by label; empty where images have none.
    pub(crate) fn class_names(&self) -> &[String] {
        match self {
            Self::Pixels(set) => set.class_names(),
            Self::Latents(latents) => &latents.set.spec().class_names,
        }
    }

    /// How many images there are of each class.
    pub(crate) fn label_counts(&self) -> Vec<u64> {
        match self {
            Self::Pixels(set) => set.label_counts(),
            Self::Latents(latents) => latents.set.label_counts(),
        }
    }

    /// The classes of a batch's images; -1 for an image without one.
    pub(crate) fn gather_labels(&self, requests: &[PatchRequest]) -> Vec<i64> {
        match self {
            Self::Pixels(set) => set.gather_labels(requests),
            Self::Latents(latents) => requests
                .iter()
                .map(|request| latents.set.label(request.index).map_or(-1, i64::from))
                .collect(),
        }
    }

    /// The patches of a training, by position.
    pub(crate) fn stream(&self, seed: Seed, mirror_probability: f64) -> PatchStream {
        PatchStream::over(self.len(), self.size(), seed, mirror_probability)
    }

    /// Copies a batch of patches of one size as the network sees them: pixels in [-1, 1], or scaled latents, sampled from
    /// their distributions by the position of each patch.
    ///
    /// # Shapes
    /// - `out`: `[requests.len(), channels, size.height, size.width]`, f32
    ///
    /// # Errors
    /// [`DatasetError::OutOfBounds`], [`DatasetError::Length`]; [`DatasetError::Setting`] for mirrored latents.
    pub(crate) fn gather(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
        out: &mut [f32],
    ) -> Result<(), DatasetError> {
        match self {
            Self::Pixels(set) => set.gather(requests, size, out),
            Self::Latents(Latents {
                set,
                scaling,
                draws,
            }) => set.gather(requests, size, scaling, Draw::Sample(*draws), out),
        }
    }

    /// What a network of latents has to know to give images.
    pub(crate) fn latent_config(&self) -> Option<LatentConfig> {
        match self {
            Self::Pixels(_) => None,
            Self::Latents(latents) => Some(latents.config()),
        }
    }
}

impl Latents {
    /// The same as a network's settings.
    pub(crate) fn config(&self) -> LatentConfig {
        let spec = self.set.spec();
        LatentConfig {
            factor: spec.factor as i64,
            pixel_range: spec.pixel_range.name().to_owned(),
            scaling: self.scaling.kind.name().to_owned(),
            shift: self.scaling.shift.clone(),
            scale: self.scaling.scale.clone(),
            encoder: spec.encoder.map(|digest| digest.to_string()),
        }
    }
}

/// The encoded data set that a stage reads, if it reads one.
pub(crate) fn encoded(job: &Job) -> Option<&JobInput> {
    inputs(job, Kind::Encode).next()
}
