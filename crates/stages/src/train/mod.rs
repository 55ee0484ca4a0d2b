//! A data set to a network: Patch Diffusion's training, resumable at every checkpoint.
//!
//! Everything random in step k is a function of (seed, k); the state of a run is its checkpoint and nothing
//! else, so that a run killed at any moment ends with the same bytes as an undisturbed one.

mod augmentation;
mod batch;
mod checkpoint;
mod curve;
mod host;
mod kept;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use patchwork_config::{EmaKind, Kind, PatchSchedule, TrainSettings};
use patchwork_core::{Seed, durable};
use patchwork_dataset::ShardSet;
use patchwork_diffusion::learning_rate::{Decay, DecayShape};
use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::{
    AdamOptions, Ema, EmaProfile, ImageClock, LearningRate, NetworkDenoiser, PatchSides, Schedule,
    StepReport, TrainOptions, TrainStep,
};
use patchwork_networks::{Network, NetworkConfig, checkpoint::network_to_bytes};
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use serde::Deserialize;
use serde_json::json;
use tch::{Device, Tensor};

use crate::device;
use crate::job::{execution, input};
use crate::network::network_config;
pub(crate) use augmentation::augment_options;
use batch::Batches;
pub(crate) use batch::one_hot;
#[cfg(test)]
pub(crate) use batch::tests::GENERATOR;
use checkpoint::{Checkpoints, Position};
use curve::LossCurve;
pub(crate) use kept::{KeptAverage, KeptAverages, RECORD_SUFFIX, record_file};

/// The final network's file in the artifact.
pub(crate) const NETWORK_FILE: &str = "network.safetensors";

/// The file of the network at an image count that `snapshot_images` names.
pub(crate) fn snapshot_file(images: u64) -> String {
    format!("snapshot-{images:09}.safetensors")
}

/// Settings that a train stage cannot go with, given its data.
#[derive(Debug, thiserror::Error)]
enum TrainError {
    #[error(
        "`class_conditional = true` needs labelled images, and the data set has no classes; \
         set `labels` in the prepare stage"
    )]
    NoClasses,
    #[error(
        "the loss is {loss} after {images_seen} images; lower `learning_rate`, lengthen \
         `learning_rate_rampup_images`, or use `precision = \"float32\"`"
    )]
    NotFinite { loss: f64, images_seen: u64 },
}

/// The settings of the pipeline file and the root seed, which the planner adds.
#[derive(Deserialize)]
struct SeededSettings {
    seed: u64,
    #[serde(flatten)]
    settings: TrainSettings,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let SeededSettings { seed, settings } = serde_json::from_value(job.settings.clone())?;
    let execution = execution(job)?;
    let device = device::configure(&execution)?;
    let data = ShardSet::open(&input(job, Kind::Prepare)?.folder)?;
    if settings.class_conditional && data.class_names().is_empty() {
        return Err(TrainError::NoClasses.into());
    }
    let config = network_config(&settings, &data);
    let seed = Seed::new(seed).derive("train");
    let mut training = Training {
        context,
        step: train_step(&settings, &config, seed, device)?,
        sides: PatchSides::pixel(config.img_resolution, settings.full_image_ratio)?,
        schedule: match settings.patch_schedule {
            PatchSchedule::Stochastic => Schedule::Stochastic,
            PatchSchedule::Progressive => Schedule::Progressive,
        },
        data: &data,
        batches: Batches::new(&data, &settings, seed, device),
        checkpoints: Checkpoints::open(context.state())?,
        position: Position::default(),
        curve: LossCurve::new(settings.duration_images),
        settings: &settings,
        config: &config,
        checkpoint_interval: Duration::from_secs_f64(execution.checkpoint_minutes * 60.0),
        log_interval: Duration::from_secs_f64(execution.log_every_seconds),
    };
    training.restore()?;
    training.run()?;
    training.finish()
}

fn train_step(
    settings: &TrainSettings,
    config: &NetworkConfig,
    seed: Seed,
    device: Device,
) -> Result<TrainStep, StageError> {
    let network = Network::new(config, device, seed.derive("initialisation").value())?;
    let denoiser = NetworkDenoiser {
        precision: device::kind(settings.precision),
        ..NetworkDenoiser::new(network)
    };
    let decay = (settings.learning_rate_decay_images > 0).then_some(Decay {
        decay_images: settings.learning_rate_decay_images,
        duration_images: settings.duration_images,
        shape: DecayShape::Linear,
    });
    let options = TrainOptions {
        batch_per_rank: settings.batch_size.into(),
        loss_scaling: settings.loss_scaling,
        learning_rate: LearningRate {
            rate: settings.learning_rate,
            rampup_images: settings.learning_rate_rampup_images,
            decay,
        },
        max_gradient_norm: settings.gradient_clip,
        loss: LossOptions {
            preconditioning: config.preconditioning,
            p_mean: settings.p_mean,
            p_std: settings.p_std,
            sigma_data: settings.sigma_data,
        },
        adam: AdamOptions::default(),
    };
    let averages = match settings.ema {
        EmaKind::HalfLife => vec![EmaProfile::HalfLife {
            images: settings.ema_half_life_images,
            rampup_ratio: (settings.ema_rampup_ratio > 0.0).then_some(settings.ema_rampup_ratio),
        }],
        EmaKind::Power => kept::WIDTHS
            .into_iter()
            .map(EmaProfile::power)
            .collect::<Result<_, _>>()?,
    };
    let clock = ImageClock {
        batch_size: settings.batch_size.into(),
        images_seen: 0,
    };
    Ok(TrainStep::new(denoiser, options, &averages, clock))
}

/// A run of training between two interruptions.
struct Training<'a> {
    context: &'a Context,
    step: TrainStep,
    sides: PatchSides,
    schedule: Schedule,
    data: &'a ShardSet,
    batches: Batches<'a>,
    checkpoints: Checkpoints,
    position: Position,
    curve: LossCurve,
    settings: &'a TrainSettings,
    config: &'a NetworkConfig,
    checkpoint_interval: Duration,
    log_interval: Duration,
}

impl Training<'_> {
    /// Goes on from the newest checkpoint that is whole, if there is one.
    fn restore(&mut self) -> Result<(), StageError> {
        let (found, damaged) = self.checkpoints.newest()?;
        for message in damaged {
            self.context.warn(message);
        }
        if let Some(checkpoint) = found {
            self.step
                .denoiser
                .network
                .load(&checkpoint.tensors("network/", &self.buffers()))?;
            for (index, average) in self.step.averages.iter_mut().enumerate() {
                average.load(&checkpoint.tensors(&average_prefix(index), &BTreeMap::new()))?;
            }
            self.step.optimizer.load_state(&checkpoint.tensors)?;
            self.position = checkpoint.position;
            self.curve = checkpoint.curve;
            self.step.clock.images_seen = self.position.images_seen;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), StageError> {
        let resumed = self.position.images_seen;
        let mut last_checkpoint = Instant::now();
        let mut window = Window::new();
        self.report_progress(resumed, None);
        while self.position.images_seen < self.settings.duration_images {
            self.save_due_snapshots()?;
            if self.context.is_interrupted() {
                self.save_checkpoint()?;
                return Err(StageError::Interrupted);
            }
            if last_checkpoint.elapsed() >= self.checkpoint_interval {
                self.save_checkpoint()?;
                last_checkpoint = Instant::now();
            }
            let report = self.train_one_step(&mut window)?;
            self.report_progress(resumed, Some(&report));
            if window.since.elapsed() >= self.log_interval {
                self.log(&report, &window);
                window = Window::new();
            }
        }
        Ok(())
    }

    fn train_one_step(&mut self, window: &mut Window) -> Result<StepReport, StageError> {
        let progress = self.position.images_seen as f64 / self.settings.duration_images as f64;
        let plan = self.schedule.plan(
            &self.sides,
            self.batches.side_draw(self.position.step),
            progress,
        );
        let started = Instant::now();
        let round = self.batches.round(&self.position, plan.side)?;
        window.data_seconds += started.elapsed().as_secs_f64();
        let images = round.rows.len() as u64;
        self.step.begin();
        self.step.accumulate(&round, plan.side);
        let report = self.step.finish(plan);
        if !report.loss.is_finite() {
            let images_seen = self.position.images_seen;
            return Err(TrainError::NotFinite {
                loss: report.loss,
                images_seen,
            }
            .into());
        }
        self.curve.add(self.position.images_seen, &report);
        window.images += images;
        window.steps += 1;
        window.loss += report.loss / (plan.side.side * plan.side.side) as f64;
        self.position.step += 1;
        self.position.images_drawn += images;
        self.position.images_seen = report.images_seen_after;
        Ok(report)
    }

    fn finish(mut self) -> Result<Outcome, StageError> {
        self.save_due_snapshots()?;
        self.save_networks(NETWORK_FILE)?;
        durable::write(
            &self.context.artifact().join("loss.png"),
            &self.curve.plot()?,
        )?;
        durable::write_json(&self.context.artifact().join("loss.json"), &self.curve)?;
        let parameters: usize = self
            .step
            .denoiser
            .network
            .parameters()
            .iter()
            .map(|parameter| parameter.tensor.numel())
            .sum();
        let summary = json!({
            "images_seen": self.position.images_seen,
            "images_drawn": self.position.images_drawn,
            "steps": self.position.step,
            "parameters": parameters,
            "final_loss": self.curve.last(),
            "class_names": self.data.class_names(),
            "class_counts": self.data.label_counts(),
        });
        Ok(Outcome::new(summary, Vec::new()))
    }

    /// Keeps the averaged network at each image count that has been reached and is not kept yet.
    fn save_due_snapshots(&mut self) -> Result<(), StageError> {
        while let Some(&due) = self.settings.snapshot_images.get(self.position.snapshots) {
            if due > self.position.images_seen {
                break;
            }
            self.save_networks(&snapshot_file(due))?;
            self.position.snapshots += 1;
        }
        Ok(())
    }

    /// Keeps the averaged network; of power-function averages, the widest under this name, the others beside it.
    fn save_networks(&self, file: &str) -> Result<(), StageError> {
        let folder = self.context.artifact();
        self.save_network(&self.step.averages[0], &folder.join(file))?;
        if self.settings.ema == EmaKind::HalfLife {
            return Ok(());
        }
        let mut record = KeptAverages {
            images_seen: self.position.images_seen,
            averages: Vec::new(),
        };
        for (index, (average, width)) in self.step.averages.iter().zip(kept::WIDTHS).enumerate() {
            let file = match index {
                0 => file.to_owned(),
                _ => kept::narrower_file(file, width),
            };
            if index > 0 {
                self.save_network(average, &folder.join(&file))?;
            }
            record.averages.push(KeptAverage {
                file,
                relative_width: width,
            });
        }
        durable::write_json(&folder.join(record_file(file)), &record)?;
        Ok(())
    }

    fn save_network(&self, average: &Ema, path: &Path) -> Result<(), StageError> {
        let network = Network::new(self.config, Device::Cpu, 0)?;
        let mut tensors = average.to_tensors();
        tensors.extend(self.buffers());
        network.load(&tensors)?;
        durable::write(path, &network_to_bytes(&network)?)?;
        Ok(())
    }

    fn save_checkpoint(&mut self) -> Result<(), StageError> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for parameter in self.step.denoiser.network.parameters() {
            tensors.push((format!("network/{}", parameter.name), parameter.tensor));
        }
        for (index, average) in self.step.averages.iter().enumerate() {
            let prefix = average_prefix(index);
            for (name, tensor) in average.to_tensors() {
                tensors.push((format!("{prefix}{name}"), tensor));
            }
        }
        tensors.extend(self.step.optimizer.state());
        self.checkpoints
            .save(&tensors, &self.position, &self.curve)?;
        Ok(())
    }

    /// What a network holds besides its parameters: filters and frequencies, the same for all its copies.
    fn buffers(&self) -> BTreeMap<String, Tensor> {
        self.step
            .denoiser
            .network
            .buffers()
            .into_iter()
            .map(|buffer| (buffer.name, buffer.tensor))
            .collect()
    }

    fn report_progress(&self, resumed: u64, report: Option<&StepReport>) {
        self.context.progress(Progress {
            done: self.position.images_seen.min(self.settings.duration_images),
            total: self.settings.duration_images,
            resumed,
            unit: "images".to_owned(),
            note: match report {
                Some(_) => format!("loss {:.4}", self.curve.last()),
                None => String::new(),
            },
        });
    }

    fn log(&self, report: &StepReport, window: &Window) {
        let seconds = window.since.elapsed().as_secs_f64();
        let at = self.position.images_seen;
        for (name, value) in [
            ("loss", window.loss / window.steps as f64),
            ("gradient_norm", report.gradient_norm),
            ("cleaned_share", report.cleaned_share),
            ("learning_rate", report.learning_rate),
            ("ema_beta", report.ema_betas[0]),
            ("images_per_second", window.images as f64 / seconds),
            ("data_share", window.data_seconds / seconds),
        ] {
            self.context.metric(name, at, value);
        }
    }
}

/// What the names of an average's tensors begin with in a checkpoint.
fn average_prefix(index: usize) -> String {
    match index {
        0 => "ema/".to_owned(),
        _ => format!("ema.{index}/"),
    }
}

/// What happened since the last recorded point.
struct Window {
    since: Instant,
    images: u64,
    steps: u64,
    loss: f64,
    data_seconds: f64,
}

impl Window {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            images: 0,
            steps: 0,
            loss: 0.0,
            data_seconds: 0.0,
        }
    }
}
