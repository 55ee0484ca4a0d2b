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
pub(crate) mod tests {
    use super::*;
    use patchwork_dataset::{Channels, Row, ShardSet, ShardSetWriter, ShardSpec};
    use patchwork_recipes::StageSettings;
    use patchwork_terms::Kind as StageKind;
    use serde_json::json;

    /// libtorch's generator is one for the process: tests that draw take turns.
    pub(crate) static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());

    const SIDE: usize = 16;
    const HALF: Side = Side::square(8, 2);

    /// A train stage's settings, conditional, with some label dropout.
    pub(in crate::train) fn settings(augment_probability: f64) -> TrainSettings {
        let operations = if augment_probability > 0.0 {
            patchwork_terms::AugmentOperation::EDM
        } else {
            &[]
        };
        let value = json!({
            "batch_size": 5, "duration_images": 1000, "learning_rate": 1e-3,
            "learning_rate_rampup_images": 0, "learning_rate_decay_images": 0, "ema": "half-life",
            "ema_half_life_images": 10, "ema_rampup_ratio": 0.05, "full_image_ratio": 0.5,
            "patch_schedule": "stochastic", "position_channels": true, "mirror_probability": 0.3,
            "augment_probability": augment_probability, "augment_operations": operations,
            "class_conditional": true, "label_dropout": 0.2, "gradient_clip": null,
            "precision": "float32", "snapshot_images": [], "preconditioning": "edm",
            "sigma_data": 0.5, "p_mean": -1.2, "p_std": 1.2, "loss_scaling": 1.0,
            "network": {
                "arch": "ddpmpp", "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1,
                "attn_resolutions": [8], "dropout": 0.0, "implicit_mlp": false
            }
        });
        match StageSettings::from_json(StageKind::Train, value).unwrap() {
            StageSettings::Train(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    /// A dozen images of two classes, no two pixels of one image alike.
    fn data(folder: &std::path::Path) -> TrainingData {
        let spec = ShardSpec {
            width: SIDE,
            height: SIDE,
            channels: Channels::Rgb,
            images_per_shard: 12,
            class_names: vec!["even".to_owned(), "odd".to_owned()],
            metadata: std::collections::BTreeMap::new(),
        };
        let rows = (0..12_u32)
            .map(|index| Row {
                key: index.to_string(),
                label: Some(index % 2),
                pixels: (0..SIDE * SIDE * 3)
                    .map(|place| ((place * 7 + index as usize * 31) % 251) as u8)
                    .collect(),
                source_width: SIDE as u16,
                source_height: SIDE as u16,
            })
            .collect();
        let mut writer = ShardSetWriter::open(folder, spec).unwrap();
        writer.write_shard(rows, Vec::new()).unwrap();
        writer.finish().unwrap();
        TrainingData::Pixels(ShardSet::open(folder).unwrap())
    }

    /// Before a step, when each one before it took ten images.
    fn position(step: u64) -> Position {
        Position {
            step,
            images_drawn: 10 * step,
            ..Position::default()
        }
    }

    /// The round of a step, from its reading on.
    fn round_of(batches: &Batches<'_>, position: &Position, side: Side) -> Round {
        let images = batches.read(position, side).unwrap();
        batches.round(position, images).unwrap()
    }

    fn tensors(round: &Round) -> Vec<Tensor> {
        let own = [&round.patches, &round.rnd_normal, &round.noise];
        own.into_iter()
            .chain(&round.class_labels)
            .chain(&round.augment_labels)
            .map(Tensor::shallow_clone)
            .chain([
                Tensor::from_slice(&round.rows),
                Tensor::from_slice(&round.cols),
            ])
            .collect()
    }

    #[test]
    fn a_round_is_a_function_of_seed_and_position() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        for probability in [0.0, 0.15] {
            let settings = settings(probability);
            let round = |seed, step| {
                let batches = Batches::new(&data, &settings, Seed::new(seed), Device::Cpu);
                tensors(&round_of(&batches, &position(step), HALF))
            };
            let first = round(1, 3);
            assert_eq!(first.len(), if probability > 0.0 { 7 } else { 6 });
            // Whatever else was drawn in between, as after a resume.
            let _ = (
                round(1, 4),
                round(2, 3),
                Tensor::rand([5], (Kind::Float, Device::Cpu)),
            );
            for (one, again) in first.iter().zip(round(1, 3)) {
                assert!(one.equal(&again));
            }
            for other in [round(1, 4), round(2, 3)] {
                for (index, (one, other)) in first.iter().zip(&other).enumerate() {
                    // Two rounds may have the same classes.
                    assert!(index == 3 || !one.equal(other), "{index}");
                }
            }
        }
    }

    /// Right guesses, wrong ones and none at all: the batches are the same.
    #[test]
    fn batches_gathered_ahead_are_the_same() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let whole = Side::square(SIDE as i64, 1);
        for probability in [0.0, 0.15] {
            let settings = settings(probability);
            let plain = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
            let mut ahead = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
            ahead.ahead = Some(Ahead::start(&data, Device::Cpu, None).unwrap());
            for (step, guess) in [
                (0, Some(0)),
                (1, Some(1)),
                (2, None),
                (3, Some(7)),
                (4, Some(4)),
            ] {
                if let Some(guess) = guess {
                    ahead.expect(&position(guess), if step == 1 { whole } else { HALF });
                }
                let expected = tensors(&round_of(&plain, &position(step), HALF));
                let found = tensors(&round_of(&ahead, &position(step), HALF));
                assert!(
                    expected
                        .iter()
                        .zip(&found)
                        .all(|(one, other)| one.equal(other))
                );
            }
        }
    }

    #[test]
    fn accumulation_rounds_share_out_a_steps_images() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let mut settings = settings(0.15);
        let round = |settings: &TrainSettings| {
            let batches = Batches::new(&data, settings, Seed::new(5), Device::Cpu);
            let round = round_of(&batches, &Position::default(), HALF);
            batches.parts(&round).collect::<Vec<Round>>()
        };
        let whole = round(&settings).pop().unwrap();
        settings.gradient_accumulation = 5;
        let parts = round(&settings);
        assert_eq!(parts.len(), 5);
        let parts_tensors: Vec<Vec<Tensor>> = parts.iter().map(tensors).collect();
        for (index, tensor) in tensors(&whole).iter().enumerate() {
            let of_parts: Vec<&Tensor> = parts_tensors.iter().map(|part| &part[index]).collect();
            assert!(Tensor::cat(&of_parts, 0).equal(tensor), "{index}");
        }
        // Dropout is drawn by the place in the whole step.
        let dropout = |round: &Round| (round.dropout_seed.map(Seed::value), round.first_image);
        let (seed, first) = dropout(&whole);
        assert_eq!(first, 0);
        for (place, part) in (0..).step_by(2).zip(&parts) {
            assert_eq!(dropout(part), (seed, place));
        }
    }

    /// What a process computes of a step is a slice of it, whatever is drawn.
    #[test]
    fn shares_are_slices_of_the_whole_step() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        for probability in [0.0, 0.9] {
            let settings = settings(probability);
            let round = |share| {
                let batches = Batches::new(&data, &settings, Seed::new(5), Device::Cpu);
                round_of(&batches.shared(share), &position(3), HALF)
            };
            let whole = round(Share::WHOLE);
            for ranks in [1, 2, 3, 5] {
                let shares: Vec<Round> = (0..ranks)
                    .map(|rank| round(Share::new(rank, ranks)))
                    .collect();
                let mut next = 0;
                for share in &shares {
                    assert_eq!(share.first_image, next);
                    next += share.rows.len() as u64;
                }
                let shares: Vec<Vec<Tensor>> = shares.iter().map(tensors).collect();
                for (index, tensor) in tensors(&whole).iter().enumerate() {
                    let of_shares: Vec<&Tensor> =
                        shares.iter().map(|share| &share[index]).collect();
                    let error = (Tensor::cat(&of_shares, 0) - tensor).abs().max();
                    assert!(error.double_value(&[]) < 1e-5, "{ranks}: {index}: {error}");
                }
            }
        }
    }

    /// Steps that were passed over are drawn no more, and the next one is drawn as if they had been done.
    #[test]
    fn draws_pass_over_skipped_steps() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let settings = settings(0.0);
        let batches = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
        let at = |step, skipped_steps| Position {
            step,
            skipped_steps,
            images_drawn: 70,
            ..Position::default()
        };
        let round = |position| tensors(&round_of(&batches, &position, HALF));
        let undisturbed = round(at(7, 0));
        for (one, other) in undisturbed.iter().zip(round(at(3, 4))) {
            assert!(one.equal(&other));
        }
        // The images follow from how many were drawn; the noise on them is another.
        let other = round(at(3, 0));
        assert!(undisturbed[0].equal(&other[0]) && !undisturbed[2].equal(&other[2]));
    }

    /// With every probability zero but the labels there, augmentation is nothing but another way to the same patches.
    #[test]
    fn cropping_after_augmentation_cuts_where_the_coordinates_say() {
        let _guard = GENERATOR.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let plain = settings(0.0);
        let mut quiet = settings(1e-12);
        quiet
            .augment_operations
            .retain(|operation| operation.name() == "yflip");
        let round = |settings| {
            let batches = Batches::new(&data, settings, Seed::new(5), Device::Cpu);
            round_of(&batches, &Position::default(), HALF)
        };
        let (plain, quiet) = (round(&plain), round(&quiet));
        assert!(plain.patches.equal(&quiet.patches));
        assert_eq!((plain.rows, plain.cols), (quiet.rows, quiet.cols));
        let labels = quiet.augment_labels.unwrap();
        assert_eq!(labels.size(), [10, 1]);
        assert!(labels.equal(&labels.zeros_like()));
    }
}
