//! Snapshots: the averaged networks that training keeps on its way and at its end, each with images sampled from it and,
//! where the settings ask for it, a Fréchet distance.

use std::path::{Path, PathBuf};

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::{FileError, durable};
use patchwork_dataset::grid::grid_png;
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_networks::checkpoint::{load_network, network_to_bytes};
use patchwork_recipes::TrainSettings;
use patchwork_terms::EmaKind;
use serde_json::Value;
use tch::Device;

use super::failures::{dispensable, dispensable_at_last, once_the_disk_takes_it};
use super::files::{NETWORK_FILE, snapshot_file};
use super::kept::{self, KeptAverage, KeptAverages, record_file};
use super::learner::Learner;
use super::retention::{self, RetainedSnapshots};
use super::snapshot_evaluation::SnapshotEvaluation;
use super::telemetry::Telemetry;
use super::watchdog::Heartbeat;
use crate::decoder::DecoderPlace;
use crate::device;
use crate::sample::ImageSampler;

/// Steps of the sampler for a snapshot's images: enough to see what the network has learnt.
const SAMPLER_STEPS: usize = 10;

/// Images that are sampled at once.
const SAMPLER_BATCH: usize = 16;

/// A snapshot that every training of the settings retains is gone.
#[derive(Debug, thiserror::Error)]
#[error(
    "the snapshot at {images} images, which `snapshot_images` wants, is missing: `{}`\nhint: restore the file, or remove the \
     last checkpoints beside it in `state`, so that training resumes from before it",
    .path.display()
)]
struct MissingSnapshot {
    path: PathBuf,
    images: u64,
}

/// Takes the snapshots of one training.
pub(super) struct Snapshotter<'a> {
    pub(super) context: &'a Context,
    pub(super) settings: &'a TrainSettings,
    pub(super) device: Device,
    pub(super) heartbeat: &'a Heartbeat,
    pub(super) evaluation: Option<SnapshotEvaluation<'a>>,
    pub(super) decoder: DecoderPlace,
}

impl Snapshotter<'_> {
    /// The snapshot that is due, by the images that name its file.
    pub(super) fn due(&self, learner: &Learner) -> Option<u64> {
        let next = learner.state.snapshots.next_due(self.settings);
        next.filter(|&due| due <= learner.images_seen())
    }

    /// Whether snapshots are measured, which takes its time.
    pub(super) fn measures(&self) -> bool {
        self.evaluation.is_some()
    }

    /// Keeps the averaged network as the snapshot due at `due` images, with samples of it and its distance.
    pub(super) fn take(
        &mut self,
        due: u64,
        learner: &mut Learner,
        telemetry: &mut Telemetry<'_>,
    ) -> Result<(), StageError> {
        self.measure_missed(&mut learner.state.snapshots)?;
        self.heartbeat.rest();
        let file = snapshot_file(due);
        let context = self.context;
        let beat = || self.heartbeat.beat();
        once_the_disk_takes_it(context, beat, || self.save_networks(&file, learner))?;
        dispensable(context, "sampling a snapshot's images", || {
            self.save_samples(&file, due, telemetry)
        })?;
        let distance = dispensable(context, "measuring a snapshot", || self.measure(&file, due))?;
        let snapshots = &mut learner.state.snapshots;
        snapshots.add(due, self.settings);
        if let Some(distance) = distance.flatten() {
            snapshots.measured(due, distance, self.settings);
        }
        Ok(())
    }

    /// Measures retained snapshots whose measurement failed, before they give way to newer ones: one may be the best. Where
    /// it fails again, the others wait too.
    fn measure_missed(&mut self, snapshots: &mut RetainedSnapshots) -> Result<(), StageError> {
        if self.evaluation.is_none() {
            return Ok(());
        }
        for images in snapshots.images() {
            if snapshots.is_measured(images) {
                continue;
            }
            let file = snapshot_file(images);
            let measured = dispensable(self.context, "measuring a snapshot", || {
                self.measure(&file, images)
            })?;
            let Some(distance) = measured.flatten() else {
                break;
            };
            snapshots.measured(images, distance, self.settings);
        }
        Ok(())
    }

    /// Keeps the final network, and makes up for what failed on the way: samples and distances of retained snapshots.
    pub(super) fn finish(
        &mut self,
        learner: &mut Learner,
        telemetry: &mut Telemetry<'_>,
    ) -> Result<(), StageError> {
        let beat = || self.heartbeat.beat();
        once_the_disk_takes_it(self.context, beat, || {
            self.save_networks(NETWORK_FILE, learner)
        })?;
        let images_seen = learner.images_seen();
        let snapshots = &mut learner.state.snapshots;
        for images in snapshots.images() {
            if snapshots.is_measured(images) || self.is_missing(images)? {
                continue;
            }
            let file = snapshot_file(images);
            if let Some(distance) = self.measure_at_last(&file, images)? {
                snapshots.measured(images, distance, self.settings);
            }
        }
        self.forget_missing(snapshots)?;
        for images in snapshots.images() {
            let file = snapshot_file(images);
            if !picture_of(&self.context.artifact().join(&file)).is_file() {
                self.save_samples_at_last(&file, images, telemetry)?;
            }
        }
        self.save_samples_at_last(NETWORK_FILE, images_seen, telemetry)?;
        self.measure_at_last(NETWORK_FILE, images_seen)?;
        Ok(())
    }

    /// Forgets regular snapshots whose files are gone. An earlier checkpoint than the last lists such ones: they gave way to
    /// others since, and were removed. Whatever the cause is, the training is to be published.
    fn forget_missing(&self, snapshots: &mut RetainedSnapshots) -> Result<(), StageError> {
        for images in snapshots.images() {
            let file = snapshot_file(images);
            if !self.is_missing(images)? {
                continue;
            }
            if self.settings.snapshot_images.contains(&images) {
                return Err(MissingSnapshot {
                    path: self.context.artifact().join(file),
                    images,
                }
                .into());
            }
            self.context.warn(format!(
                "the snapshot `{file}` is missing; training is published without it"
            ));
            snapshots.forget(images);
        }
        Ok(())
    }

    /// Whether the disk says that the network of a snapshot is not there.
    fn is_missing(&self, images: u64) -> Result<bool, FileError> {
        let path = self.context.artifact().join(snapshot_file(images));
        let exists = path.try_exists();
        exists
            .map(|exists| !exists)
            .map_err(|source| FileError::new("look for", &path, source))
    }

    /// Removes all snapshots from the artifact but those that are retained at the end of training, once a checkpoint says
    /// so.
    pub(super) fn discard_others(&self, learner: &Learner) -> Result<(), FileError> {
        let retained = std::slice::from_ref(&learner.state.snapshots);
        retention::remove_all_but(retained, self.context.artifact())
    }

    /// The best network and its distance for the summary, where snapshots are measured.
    pub(super) fn best(&self, learner: &Learner) -> Result<Option<Value>, StageError> {
        let best = learner.state.snapshots.best();
        let evaluation = self.evaluation.as_ref();
        evaluation
            .map(|evaluation| evaluation.finish(best, learner.images_seen()))
            .transpose()
    }

    /// Keeps the averaged network; of power-function averages, the widest under this name, the others beside it.
    fn save_networks(&self, file: &str, learner: &Learner) -> Result<(), StageError> {
        let folder = self.context.artifact();
        save_network(learner, 0, &folder.join(file))?;
        if self.settings.ema == EmaKind::HalfLife {
            return Ok(());
        }
        let mut record = KeptAverages {
            images_seen: learner.images_seen(),
            averages: Vec::new(),
        };
        for (index, width) in kept::WIDTHS.into_iter().enumerate() {
            let file = match index {
                0 => file.to_owned(),
                _ => kept::narrower_file(file, width),
            };
            if index > 0 {
                save_network(learner, index, &folder.join(&file))?;
            }
            record.averages.push(KeptAverage {
                file,
                relative_width: width,
            });
        }
        durable::write_json(&folder.join(record_file(file)), &record)?;
        Ok(())
    }

    /// The distance of a network that was just kept, where the settings ask for it.
    fn measure(&mut self, file: &str, images_seen: u64) -> Result<Option<f64>, StageError> {
        self.heartbeat.rest();
        let evaluation = self.evaluation.as_mut();
        evaluation
            .map(|evaluation| evaluation.measure(file, images_seen))
            .transpose()
    }

    /// The same at the end of training, as [`dispensable_at_last`].
    fn measure_at_last(&mut self, file: &str, images_seen: u64) -> Result<Option<f64>, StageError> {
        let measured = dispensable_at_last(self.context, "measuring a network", || {
            self.measure(file, images_seen)
        })?;
        Ok(measured.flatten())
    }

    /// Samples images of the first seeds from the network in a file of the artifact, as a picture beside it and for
    /// TensorBoard.
    fn save_samples(
        &self,
        file: &str,
        images_seen: u64,
        telemetry: &mut Telemetry<'_>,
    ) -> Result<(), StageError> {
        self.heartbeat.rest();
        let count = u64::from(self.settings.snapshot_samples);
        if count == 0 {
            return Ok(());
        }
        let path = self.context.artifact().join(file);
        let png = self.picture(&path, count)?;
        durable::write(&picture_of(&path), &png)?;
        telemetry.samples(images_seen, &png);
        Ok(())
    }

    /// [`Self::save_samples`] at the end of training, as [`dispensable_at_last`].
    fn save_samples_at_last(
        &self,
        file: &str,
        images_seen: u64,
        telemetry: &mut Telemetry<'_>,
    ) -> Result<(), StageError> {
        dispensable_at_last(self.context, "sampling a network's images", || {
            self.save_samples(file, images_seen, telemetry)
        })?;
        Ok(())
    }

    /// A PNG of images of the seeds from 0 on, sampled from the network in a file.
    fn picture(&self, network: &Path, count: u64) -> Result<Vec<u8>, StageError> {
        let network = load_network(network, self.device)?;
        let classes = network.config().label_dim;
        let options = SamplerOptions::Heun(HeunOptions {
            levels: NoiseLevels {
                num_steps: SAMPLER_STEPS,
                ..NoiseLevels::default()
            },
            ..HeunOptions::default()
        });
        let precision = device::kind(self.settings.precision);
        let decoder = (self.decoder).open(network.config(), self.device, self.context)?;
        let heartbeat = self.heartbeat.clone();
        let sampler = ImageSampler::new(&network, precision, None, options, self.device)
            .decoded_by(decoder)
            .beating(move || heartbeat.beat());
        let seeds: Vec<u64> = (0..count).collect();
        let mut pictures: Vec<u8> = Vec::new();
        for seeds in seeds.chunks(SAMPLER_BATCH) {
            let labels: Option<Vec<i64>> =
                (classes > 0).then(|| seeds.iter().map(|&seed| seed as i64 % classes).collect());
            let images = sampler.sample(seeds, labels.as_deref())?;
            let pixels = images.permute([0, 2, 3, 1]).contiguous();
            pictures.extend(
                Vec::<u8>::try_from(pixels.flatten(0, -1))
                    .expect("a flat tensor of bytes is a vector of bytes"),
            );
        }
        let pictures: Vec<&[u8]> = pictures.chunks(pictures.len() / seeds.len()).collect();
        let columns = (count as f64).sqrt().ceil() as usize;
        let (width, height) = (sampler.width(), sampler.height());
        Ok(grid_png(
            &pictures,
            width,
            height,
            sampler.channels()?,
            columns,
            2,
            2,
        )?)
    }
}

/// Writes the network of one average.
fn save_network(learner: &Learner, index: usize, path: &Path) -> Result<(), StageError> {
    let network = learner.averaged_network(index)?;
    durable::write(path, &network_to_bytes(&network)?)?;
    Ok(())
}

/// The file of the images that were sampled from the network in a file.
fn picture_of(network: &Path) -> PathBuf {
    network.with_extension("png")
}
