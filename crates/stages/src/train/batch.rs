//! The images and the draws of a step, as a function of (seed, position).

use std::borrow::Cow;

use patchwork_artifacts::worker::StageError;
use patchwork_core::Seed;
use patchwork_dataset::{DatasetError, PatchRequest, PatchSize, PatchStream, Share};
use patchwork_diffusion::augment::{AugmentOptions, GeneratorDraws, PartDraws, augment};
use patchwork_diffusion::loss::drop_labels;
use patchwork_diffusion::patches::crop;
use patchwork_diffusion::transfer::bring;
use patchwork_diffusion::{Round, Side};
use patchwork_libtorch::cuda::CopyStream;
use patchwork_recipes::{Execution, TrainSettings};
use patchwork_terms::FastPath;
use tch::{Cuda, Device, Kind, Tensor};

use super::ahead::Ahead;
use super::augmentation::augment_options;
use super::host::HostBatch;
use super::position::Position;
use crate::data::TrainingData;

/// Makes the batches of a run.
pub(crate) struct Batches<'a> {
    data: &'a TrainingData,
    stream: PatchStream,
    seed: Seed,
    batch_size: u64,
    /// What of each step this process computes.
    share: Share,
    gradient_accumulation: usize,
    augmentation: Option<AugmentOptions>,
    /// The number of classes and the share of withheld labels, for a conditional network.
    labels: Option<(i64, f64)>,
    device: Device,
    /// Where the processor is free while the device computes.
    ahead: Option<Ahead>,
    /// Whether cuDNN times its algorithms for each new shape.
    is_autotuned: bool,
}

/// The images of a step, as they were read.
pub(crate) struct StepImages {
    requests: Vec<PatchRequest>,
    side: Side,
    /// Of what [`Batches::wanted`] names.
    values: HostBatch,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        data: &'a TrainingData,
        settings: &TrainSettings,
        seed: Seed,
        device: Device,
    ) -> Self {
        Self {
            data,
            stream: data.stream(seed, settings.mirror_probability),
            seed,
            batch_size: settings.batch_size.into(),
            share: Share::WHOLE,
            gradient_accumulation: settings.gradient_accumulation as usize,
            augmentation: augment_options(settings),
            labels: settings
                .class_conditional
                .then_some((data.class_names().len() as i64, settings.label_dropout)),
            device,
            ahead: None,
            is_autotuned: false,
        }
    }

    /// Of the same batches, the share of one of several processes. What is random of an image does not depend on it.
    pub(crate) fn shared(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// The same batches, each gathered while the one before it is computed with, if a GPU does that. On a processor
    /// gathering takes its time from the network whichever thread does it.
    pub(crate) fn gathered_ahead_on_cuda(
        mut self,
        settings: &TrainSettings,
        execution: &Execution,
    ) -> Result<Self, StageError> {
        if self.device.is_cuda() {
            let is_copied_beside = settings.fast_paths.contains(&FastPath::CopyStream);
            let stream = is_copied_beside.then(|| CopyStream::new(self.device));
            self.ahead = Some(Ahead::start(self.data, self.device, stream.transpose()?)?);
            self.is_autotuned = execution.cudnn_benchmark;
        }
        Ok(self)
    }

    /// Says which step is likely to be next, once the batch of the step before it has been taken.
    pub(crate) fn expect(&self, position: &Position, side: Side) {
        if let Some(ahead) = &self.ahead {
            let requests = self.requests(position, side);
            let (wanted, size) = self.wanted(&requests, side);
            ahead.ask(wanted.into_owned(), size);
        }
    }

    /// Reads the images of a step, or waits until they have been.
    pub(crate) fn read(&self, position: &Position, side: Side) -> Result<StepImages, DatasetError> {
        let requests = self.requests(position, side);
        let (wanted, size) = self.wanted(&requests, side);
        let values = self.gather(&wanted, size)?;
        Ok(StepImages {
            requests,
            side,
            values,
        })
    }

    /// The images of a step, cropped, with all its noise.
    pub(crate) fn round(
        &self,
        position: &Position,
        images: StepImages,
    ) -> Result<Round, StageError> {
        let StepImages {
            requests,
            side,
            values,
        } = images;
        let values = values.into_device();
        // Numbers are drawn for all images of the step, and those of the share are taken.
        let all = self.step_images(side);
        let part = self.share.of(0..all);
        let of_part =
            |all: Tensor| all.narrow(0, part.start as i64, (part.end - part.start) as i64);
        let all = all as i64;
        let rows: Vec<i64> = requests.iter().map(|request| request.row as i64).collect();
        let cols: Vec<i64> = requests
            .iter()
            .map(|request| request.column as i64)
            .collect();
        let (patches, augment_labels) = match &self.augmentation {
            None => (values, None),
            Some(options) => {
                tch::manual_seed(self.generator_seed("augment", position));
                // A warp's shapes change with every step, and timing algorithms for each would take longer than it.
                if self.is_autotuned {
                    Cuda::cudnn_set_benchmark(false);
                }
                let range = part.start as usize..part.end as usize;
                let mut draws = PartDraws::new(GeneratorDraws, all as usize, range);
                let (images, labels) = augment(&values, options, &mut draws)?;
                if self.is_autotuned {
                    Cuda::cudnn_set_benchmark(true);
                }
                let patches = crop(&images, &rows, &cols, side.height, side.width);
                (patches, Some(labels))
            }
        };
        tch::manual_seed(self.generator_seed("noise", position));
        let float = (Kind::Float, Device::Cpu);
        let rnd_normal = bring(&of_part(Tensor::randn([all], float)), self.device);
        // On the device: a host draws one number after the other, for which a GPU would wait.
        let mut shape = patches.size();
        shape[0] = all;
        let noise = of_part(Tensor::randn(shape, (Kind::Float, self.device)));
        let class_labels = self.labels.map(|(classes, dropout)| {
            let one_hot = one_hot(&self.data.gather_labels(&requests), classes);
            let uniform = of_part(Tensor::rand([all], float));
            let kept = drop_labels(&one_hot, &uniform, dropout);
            bring(&kept, self.device)
        });
        Ok(Round {
            patches,
            rows,
            cols,
            class_labels,
            augment_labels,
            rnd_normal,
            noise,
            dropout_seed: Some(self.seed.derive("dropout").at(position.draw())),
            first_image: part.start,
        })
    }

    /// The images of a step in as many parts as there are accumulation rounds, with the same draws.
    pub(crate) fn parts<'r>(&self, round: &'r Round) -> impl Iterator<Item = Round> + use<'r> {
        round.parts(self.gradient_accumulation)
    }

    /// The seed of libtorch's generator for a purpose in a step.
    fn generator_seed(&self, purpose: &str, position: &Position) -> i64 {
        let seed = self.seed.derive(purpose).at(position.draw());
        seed.value().cast_signed()
    }

    fn whole_size(&self) -> PatchSize {
        self.data.size()
    }

    /// What is read of a step's images: their patches or, where augmentation comes before cropping, the whole of them.
    fn wanted<'r>(
        &self,
        requests: &'r [PatchRequest],
        side: Side,
    ) -> (Cow<'r, [PatchRequest]>, PatchSize) {
        match &self.augmentation {
            None => (Cow::Borrowed(requests), patch_size(side)),
            Some(_) => (Cow::Owned(whole(requests)), self.whole_size()),
        }
    }

    /// `[requests, channels, height, width]`, f32.
    fn gather(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
    ) -> Result<HostBatch, DatasetError> {
        let ahead = match &self.ahead {
            Some(ahead) => ahead.take(requests, size)?,
            None => None,
        };
        match ahead {
            Some(batch) => Ok(batch),
            None => HostBatch::gather(self.data, requests, size, self.device),
        }
    }

    /// Images of a step, all processes together.
    pub(crate) fn step_images(&self, side: Side) -> u64 {
        self.batch_size * side.multiplier as u64
    }

    /// Which images, and where the patches lie: corners uniform on the integers of `0..=R - s`.
    fn requests(&self, position: &Position, side: Side) -> Vec<PatchRequest> {
        let first = position.images_drawn;
        let all = first..first + self.step_images(side);
        self.stream.patches(all, self.share, patch_size(side))
    }
}

/// The whole images of some requests: augmentation moves what a patch shows, so that it comes before cropping.
fn whole(requests: &[PatchRequest]) -> Vec<PatchRequest> {
    let requests = requests.iter().map(|&request| PatchRequest {
        row: 0,
        column: 0,
        ..request
    });
    requests.collect()
}

fn patch_size(side: Side) -> PatchSize {
    PatchSize {
        height: side.height as usize,
        width: side.width as usize,
    }
}

/// One row a label with a 1 at the class; an image without a class (-1) gets zeros.
///
/// # Shapes
/// - returns: `[labels, classes]`, f32
pub(crate) fn one_hot(labels: &[i64], classes: i64) -> Tensor {
    let classes = Tensor::arange(classes, (Kind::Int64, Device::Cpu));
    Tensor::from_slice(labels)
        .unsqueeze(1)
        .eq_tensor(&classes.unsqueeze(0))
        .to_kind(Kind::Float)
}

#[cfg(test)]
pub(crate) mod tests;
