//! A cheap distance at each snapshot: some samples of the averaged network against the training images.
//!
//! It says how quality goes with images seen while training is still on its way, and which snapshot is the best. The
//! values compare with one another and with those of trainings of the same settings, not with an evaluate stage's:
//! samples and reference are fewer. Nothing that training draws depends on it.

use std::ops::Range;
use std::path::Path;

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::{Digest, durable, file_error};
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_metrics::{Extraction, Gaussian, frechet_distance};
use patchwork_networks::checkpoint::load_network;
use patchwork_plot::{Labels, Line, line_plot};
use patchwork_recipes::{SnapshotEvaluationSettings, TrainSettings};
use patchwork_weights::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::files::{BEST_FILE, NETWORK_FILE, snapshot_file};
use super::progress::progress;
use super::watchdog::Heartbeat;
use crate::data::TrainingData;
use crate::decoder::DecoderPlace;
use crate::device;
use crate::features::{Evenly, FeatureStore, Images, in_color};
use crate::reconstructions::Reconstructions;
use crate::reference::open_extraction;
use crate::sample::{Classes, ImageSampler};
use crate::shares::Shares;

/// The measured snapshots' file in the artifact.
const MEASURED_FILE: &str = "snapshots.json";

/// The only kind of features that is taken: that of whole images.
const WHOLE: usize = 0;

/// What measures the snapshots of a training.
pub(super) struct SnapshotEvaluation<'a> {
    settings: &'a SnapshotEvaluationSettings,
    training: &'a TrainSettings,
    context: &'a Context,
    device: Device,
    extraction: Extraction,
    reference: Gaussian,
    classes: Classes,
    measured: Vec<Measured>,
    decoder: DecoderPlace,
    heartbeat: &'a Heartbeat,
}

/// A snapshot with its distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    images_seen: u64,
    file: String,
    network: Digest,
    metric: String,
    value: f64,
}

impl<'a> SnapshotEvaluation<'a> {
    /// Measures the training images, or reads what an earlier attempt found; none where the settings ask for none.
    pub(super) fn open(
        weights: &Path,
        training: &'a TrainSettings,
        data: &TrainingData,
        context: &'a Context,
        device: Device,
        decoder: DecoderPlace,
        heartbeat: &'a Heartbeat,
    ) -> Result<Option<Self>, StageError> {
        let Some(settings) = &training.snapshot_evaluation else {
            return Ok(None);
        };
        let extraction = open_extraction(&settings.reference(), weights, device)?;
        let all = images_of(data, &decoder, device, context)?;
        let reference = Evenly::of(all.as_ref(), settings.reference_images as usize);
        let mut report = |done: usize, _| {
            let note = format!(
                "measuring the training images: {done} of {}",
                reference.count
            );
            context.progress(progress(training, 0, 0, note));
            heartbeat.beat();
            context.is_interrupted()
        };
        let store = FeatureStore::fill(
            &reference,
            &extraction,
            settings.batch_size as usize,
            &context.state().join("reference-features"),
            Shares::whole(context),
            &mut report,
        )?;
        let path = context.artifact().join(MEASURED_FILE);
        Ok(Some(Self {
            settings,
            training,
            context,
            device,
            extraction,
            reference: store.moments(WHOLE)?.whole()?,
            classes: Classes::of_data(data, training.class_conditional),
            decoder,
            heartbeat,
            measured: match file_error::read_json(&path) {
                Err(error) if error.is_not_found() => Vec::new(),
                read => read?,
            },
        }))
    }

    /// The distance of the network in a file of the artifact.
    ///
    /// A network that an earlier attempt measured is not measured again.
    pub(super) fn measure(&mut self, file: &str, images_seen: u64) -> Result<f64, StageError> {
        let path = self.context.artifact().join(file);
        let network = Digest::of_file(&path)?;
        let known = self.measured.iter().find(|known| known.network == network);
        if let Some(known) = known.filter(|known| known.file == file) {
            return Ok(known.value);
        }
        let value = self.distance(&path, network, images_seen)?;
        let metric = self.metric();
        let name = format!("snapshot_{metric}");
        self.context.metric(&name, images_seen, value);
        // After a rollback, the network at the same images is another one.
        self.measured.retain(|measured| measured.file != file);
        self.measured.push(Measured {
            images_seen,
            file: file.to_owned(),
            network,
            metric,
            value,
        });
        self.measured.sort_by_key(|measured| measured.images_seen);
        durable::write_json(&self.context.artifact().join(MEASURED_FILE), &self.measured)?;
        Ok(value)
    }

    /// Keeps the best network once more under a name of its own, plots the curve, and reports
    /// the best, and what it was measured on. `best_snapshot` is the best one before the final network, that after
    /// `images_seen`, which counts as the best where none could be measured.
    pub(super) fn finish(
        &self,
        best_snapshot: Option<u64>,
        images_seen: u64,
    ) -> Result<Value, StageError> {
        let snapshot = best_snapshot.map(snapshot_file);
        let candidates = self.measured.iter().filter(|measured| {
            measured.file == NETWORK_FILE || Some(&measured.file) == snapshot.as_ref()
        });
        // Of equal ones the earliest.
        let best = candidates.min_by(|left, right| left.value.total_cmp(&right.value));
        let file = best.map_or(NETWORK_FILE, |best| &best.file);
        let folder = self.context.artifact();
        let network = file_error::read(&folder.join(file))?;
        durable::write(&folder.join(BEST_FILE), &network)?;
        let Some(best) = best else {
            self.context.warn(format!(
                "no network could be measured: `{BEST_FILE}` is the final one"
            ));
            return Ok(json!({"images_seen": images_seen, "file": file}));
        };
        self.plot()?;
        Ok(json!({
            "images_seen": best.images_seen,
            "file": best.file,
            "metric": best.metric,
            "value": best.value,
            "samples": self.settings.samples,
            "reference_images": self.reference.count(),
        }))
    }

    fn metric(&self) -> String {
        let spec = &self.extraction.extractors()[0].spec;
        spec.metric_name(Quantity::Frechet)
    }

    /// Draws the curve of distance against images seen.
    fn plot(&self) -> Result<(), StageError> {
        let metric = self.metric();
        let points = self.measured.iter();
        let line = Line {
            name: &metric,
            points: points
                .map(|measured| (measured.images_seen as f64, measured.value))
                .collect(),
            ..Line::default()
        };
        let labels = Labels {
            title: "distance of the snapshots to the training images",
            x: "training images seen",
            y: &metric,
        };
        let png = line_plot(&labels, &[line], true)?;
        durable::write(&self.context.artifact().join("snapshots.png"), &png)?;
        Ok(())
    }

    fn distance(&self, path: &Path, digest: Digest, images_seen: u64) -> Result<f64, StageError> {
        let network = load_network(path, self.device)?;
        let options = SamplerOptions::Heun(HeunOptions {
            levels: NoiseLevels {
                num_steps: self.settings.steps as usize,
                ..NoiseLevels::default()
            },
            ..HeunOptions::default()
        });
        let precision = device::kind(self.training.precision);
        let heartbeat = self.heartbeat.clone();
        let samples = Samples {
            sampler: ImageSampler::new(&network, precision, None, options, self.device)
                .decoded_by((self.decoder).open(network.config(), self.device, self.context)?)
                .beating(move || heartbeat.beat()),
            classes: &self.classes,
            count: self.settings.samples as usize,
        };
        let mut report = |done: usize, _| {
            let note = format!("measuring a snapshot: {done} of {} samples", samples.count);
            let resumed = u64::min(images_seen, self.training.duration_images);
            self.context
                .progress(progress(self.training, images_seen, resumed, note));
            self.heartbeat.beat();
            self.context.is_interrupted()
        };
        let state = self.context.state().join(format!("features-{digest}"));
        let filled = FeatureStore::fill(
            &samples,
            &self.extraction,
            self.settings.batch_size as usize,
            &state,
            Shares::whole(self.context),
            &mut report,
        );
        if let Err(StageError::Interrupted) = filled {
            return Err(StageError::Interrupted);
        }
        // Where the disk is full, half of the features take space that training waits for.
        let distance = filled.and_then(|store| {
            let gaussian = store.moments(WHOLE)?.whole()?;
            Ok(frechet_distance(&self.reference, &gaussian)?)
        });
        durable::remove_dir_all(&state)?;
        Ok(distance?.distance)
    }
}

/// The images that are trained on; of latents, what the decoder makes of them: nothing that is sampled is nearer to the
/// images themselves.
fn images_of(
    data: &TrainingData,
    decoder: &DecoderPlace,
    device: Device,
    context: &Context,
) -> Result<Box<dyn Images>, StageError> {
    let latents = match data {
        TrainingData::Pixels(set) => return Ok(Box::new(set.clone())),
        TrainingData::Latents(latents) => latents,
    };
    let size = data.size();
    let size = [size.height as i64, size.width as i64];
    let decoder = decoder.open_for(&latents.config(), size, device, context)?;
    Ok(Box::new(Reconstructions {
        set: latents.set.clone(),
        decoder,
    }))
}

/// Images that are sampled when they are asked for, one a seed from 0.
struct Samples<'a> {
    sampler: ImageSampler,
    classes: &'a Classes,
    count: usize,
}

impl Images for Samples<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, range: Range<usize>) -> Result<Tensor, StageError> {
        let seeds: Vec<u64> = (range.start as u64..range.end as u64).collect();
        let labels = self.classes.of(range.start as u64, &seeds);
        let images = self.sampler.sample(&seeds, labels.as_deref())?;
        Ok(in_color(&images))
    }
}
