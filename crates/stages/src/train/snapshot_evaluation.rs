//! A cheap distance at each snapshot: some samples of the averaged network against the training images.
//!
//! It says how quality goes with images seen while training is still on its way, and which snapshot is the best. The
//! values compare with one another and with those of trainings of the same settings, not with an evaluate stage's:
//! samples and reference are fewer. Nothing that training draws depends on it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use patchwork_config::{SnapshotEvaluationSettings, TrainSettings};
use patchwork_core::{durable, file_error};
use patchwork_dataset::ShardSet;
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_metrics::{Extractor, Gaussian, frechet_distance, open_extractor};
use patchwork_networks::checkpoint::load_network;
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_planner::extractor::extractor_kind;
use patchwork_plot::{Labels, Line, line_plot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::accumulate::{Images, accumulate};
use crate::device;
use crate::job::weights_folder;
use crate::sample::{Classes, ImageSampler};

/// The best network's file in the artifact.
pub(crate) const BEST_FILE: &str = "best.safetensors";

/// The measured snapshots' file in the artifact.
const MEASURED_FILE: &str = "snapshots.json";

/// What measures the snapshots of a training.
pub(super) struct SnapshotEvaluation<'a> {
    settings: SnapshotEvaluationSettings,
    training: &'a TrainSettings,
    context: &'a Context,
    device: Device,
    extractor: Box<dyn Extractor>,
    reference: Gaussian,
    classes: Classes,
    measured: Vec<Measured>,
}

/// A snapshot with its distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    images_seen: u64,
    file: String,
    metric: String,
    value: f64,
}

impl<'a> SnapshotEvaluation<'a> {
    /// Measures the training images, or reads what an earlier attempt found; none where the settings ask for none.
    pub(super) fn open(
        job: &Job,
        training: &'a TrainSettings,
        data: &ShardSet,
        context: &'a Context,
        device: Device,
    ) -> Result<Option<Self>, StageError> {
        let Some(settings) = training.snapshot_evaluation else {
            return Ok(None);
        };
        let kind = extractor_kind(settings.extractor);
        let extractor = open_extractor(kind, weights_folder(job), device)?;
        let reference = Evenly {
            data,
            count: usize::min(data.len(), settings.reference_images as usize),
        };
        let mut report = |done: usize, _| {
            let note = format!("measuring the training images: {done} of {}", reference.count);
            context.progress(progress(training, 0, note));
            context.is_interrupted()
        };
        let moments = accumulate(
            &reference,
            extractor.as_ref(),
            settings.batch_size as usize,
            &context.state().join("reference.safetensors"),
            &mut report,
        )?;
        let path = context.artifact().join(MEASURED_FILE);
        Ok(Some(Self {
            settings,
            training,
            context,
            device,
            extractor,
            reference: moments.whole()?.gaussian()?,
            classes: Classes::of_data(data, training.class_conditional),
            measured: if path.is_file() {
                file_error::read_json(&path)?
            } else {
                Vec::new()
            },
        }))
    }

    /// Measures the network in a file of the artifact, and keeps it as the best if it is.
    ///
    /// One that an earlier attempt measured is not measured again: after the same steps it is the same network.
    pub(super) fn measure(&mut self, file: &str, images_seen: u64) -> Result<(), StageError> {
        if self.measured.iter().any(|measured| measured.file == file) {
            return Ok(());
        }
        let value = self.distance(&self.context.artifact().join(file), images_seen)?;
        let name = format!("snapshot_{}", self.extractor.metric_name());
        self.context.metric(&name, images_seen, value);
        self.measured.push(Measured {
            images_seen,
            file: file.to_owned(),
            metric: self.extractor.metric_name().to_owned(),
            value,
        });
        if self.best().is_some_and(|best| best.file == file) {
            self.keep_as_best(file)?;
        }
        // The last: what is recorded is not done again.
        durable::write_json(&self.context.artifact().join(MEASURED_FILE), &self.measured)?;
        Ok(())
    }

    /// What is worth telling of the snapshots: the best of them, and what it was measured on.
    pub(super) fn summary(&self) -> Value {
        let best = self.best().map(|best| {
            json!({
                "images_seen": best.images_seen,
                "file": best.file,
                "metric": best.metric,
                "value": best.value,
                "samples": self.settings.samples,
                "reference_images": self.reference.count(),
            })
        });
        json!(best)
    }

    /// Draws the curve of distance against images seen.
    pub(super) fn plot(&self) -> Result<(), StageError> {
        let metric = self.extractor.metric_name();
        let points = self.measured.iter();
        let line = Line {
            name: metric,
            points: points
                .map(|measured| (measured.images_seen as f64, measured.value))
                .collect(),
        };
        let labels = Labels {
            title: "distance of the snapshots to the training images",
            x: "training images seen",
            y: metric,
        };
        let png = line_plot(&labels, &[line], true)?;
        durable::write(&self.context.artifact().join("snapshots.png"), &png)?;
        Ok(())
    }

    /// The earliest of the lowest distance.
    fn best(&self) -> Option<&Measured> {
        self.measured
            .iter()
            .min_by(|left, right| left.value.total_cmp(&right.value))
    }

    fn distance(&self, network: &Path, images_seen: u64) -> Result<f64, StageError> {
        let network = load_network(network, self.device)?;
        let options = SamplerOptions::Heun(HeunOptions {
            levels: NoiseLevels {
                num_steps: self.settings.steps as usize,
                ..NoiseLevels::default()
            },
            ..HeunOptions::default()
        });
        let precision = device::kind(self.training.precision);
        let samples = Samples {
            sampler: ImageSampler::new(&network, precision, None, options, self.device),
            classes: &self.classes,
            count: self.settings.samples as usize,
        };
        let mut report = |done: usize, _| {
            let note = format!("measuring a snapshot: {done} of {} samples", samples.count);
            self.context
                .progress(progress(self.training, images_seen, note));
            self.context.is_interrupted()
        };
        let state: PathBuf = self
            .context
            .state()
            .join(format!("snapshot-{images_seen:09}.moments"));
        let moments = accumulate(
            &samples,
            self.extractor.as_ref(),
            self.settings.batch_size as usize,
            &state,
            &mut report,
        )?;
        let distance = frechet_distance(&self.reference, &moments.whole()?.gaussian()?)?;
        durable::remove_file(&state)?;
        Ok(distance.distance)
    }

    fn keep_as_best(&self, file: &str) -> Result<(), StageError> {
        let folder = self.context.artifact();
        let network = file_error::read(&folder.join(file))?;
        durable::write(&folder.join(BEST_FILE), &network)?;
        Ok(())
    }
}

fn progress(training: &TrainSettings, images_seen: u64, note: String) -> Progress {
    let done = u64::min(images_seen, training.duration_images);
    Progress {
        done,
        total: training.duration_images,
        resumed: done,
        unit: "images".to_owned(),
        note,
    }
}

/// Some images of a data set, evenly over it.
struct Evenly<'a> {
    data: &'a ShardSet,
    count: usize,
}

impl Images for Evenly<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, range: Range<usize>) -> Tensor {
        let images: Vec<Tensor> = range
            .map(|number| {
                let index = number * self.data.len() / self.count;
                self.data.batch(index..index + 1)
            })
            .collect();
        Tensor::cat(&images, 0)
    }
}

/// Images that are drawn when they are asked for, one a seed from 0.
struct Samples<'a> {
    sampler: ImageSampler,
    classes: &'a Classes,
    count: usize,
}

impl Images for Samples<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, range: Range<usize>) -> Tensor {
        let seeds: Vec<u64> = (range.start as u64..range.end as u64).collect();
        let labels = self.classes.of(&seeds);
        self.sampler.draw(&seeds, labels.as_deref())
    }
}
