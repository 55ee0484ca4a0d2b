//! A data set to a small KL autoencoder, as a diffusers folder; resumed to the last bit like a training.

mod checkpoints;
mod training;

use std::time::{Duration, Instant};

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_dataset::grid::grid_png;
use patchwork_diffusion::autoencoder::AutoencoderReport;
use patchwork_networks::autoencoder::AutoencoderConfig;
use patchwork_recipes::{AutoencoderJob, AutoencoderSettings};
use patchwork_terms::{Channels, Kind};
use serde_json::json;
use tch::Tensor;

use crate::device;
use crate::encode::{at_once, write_files};
use crate::job::input;
use checkpoints::Keeper;
pub use training::{AutoencoderError, AutoencoderTraining, Reconstructions, TrainingOptions};

/// The picture of held-out images, each beside what became of it.
const PICTURE_FILE: &str = "reconstructions.png";

/// Held-out images that are shown, and pairs of them in a row.
const SHOWN: usize = 32;
const PAIRS_IN_A_ROW: usize = 4;

/// How often the held-out images are measured on the way.
const MEASUREMENTS: u64 = 10;

/// A training that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "the loss is {loss} after {images} crops: the last checkpoint stays\nhint: a lower `learning_rate` is steadier"
)]
struct NotFinite {
    loss: f64,
    images: u64,
}

/// A training that led nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "the weights are non-finite after {images} crops, at the end of training: nothing is published\nhint: a lower \
     `learning_rate` is steadier"
)]
struct NotFiniteWeights {
    images: u64,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let AutoencoderJob { covered, uncovered } = AutoencoderJob::read(job)?;
    let (settings, execution) = (covered.settings, uncovered.execution);
    let device = device::configure(&execution)?;
    let data = ShardSet::open(&input(job, Kind::Prepare)?.folder)?;
    let options = training_options(&settings, &data, covered.resolved.seed);
    let mut training = AutoencoderTraining::new(options, &data, device)?;
    let keeper = Keeper::resume(context, &execution, &mut training)?;
    let size = [data.height() as i64, data.width() as i64];
    let at_once = i64::max(at_once(training.autoencoder(), size, &execution), 1) as usize;
    let run = Run {
        context,
        settings: &settings,
        at_once,
        log_interval: Duration::from_secs_f64(execution.log_every_seconds),
    };
    run.train(&mut training, keeper)?;
    run.finish(&training)
}

fn training_options(settings: &AutoencoderSettings, data: &ShardSet, seed: u64) -> TrainingOptions {
    let channels = data.channels().count() as i64;
    TrainingOptions {
        config: AutoencoderConfig {
            in_channels: channels,
            out_channels: channels,
            latent_channels: settings.latent_channels.into(),
            block_out_channels: (settings.block_out_channels.iter())
                .map(|channels| (*channels).into())
                .collect(),
            layers_per_block: settings.layers_per_block.into(),
            norm_num_groups: settings.norm_num_groups.into(),
            sample_size: Some(data.width() as i64),
            ..AutoencoderConfig::default()
        },
        crop: settings.crop as usize,
        batch_size: settings.batch_size.into(),
        steps: settings.steps(),
        learning_rate: settings.learning_rate,
        ramp_steps: settings
            .learning_rate_rampup_images
            .div_ceil(settings.batch_size.into()),
        seed,
    }
}

/// A run of training between two interruptions.
struct Run<'a> {
    context: &'a Context,
    settings: &'a AutoencoderSettings,
    at_once: usize,
    log_interval: Duration,
}

impl Run<'_> {
    fn train(
        &self,
        training: &mut AutoencoderTraining,
        mut keeper: Keeper<'_>,
    ) -> Result<(), StageError> {
        let (resumed, steps) = (training.images(), self.settings.steps());
        if resumed > 0 {
            self.context.resumed(resumed);
        }
        self.progress(resumed, resumed, None);
        let mut recorded: Option<Instant> = None;
        while training.steps() < steps {
            if self.context.is_interrupted() {
                keeper.save_needed(training)?;
                return Err(StageError::Interrupted);
            }
            if keeper.is_due(training) {
                keeper.save_regular(training)?;
            }
            let report = training.step()?;
            let images = training.images();
            if !report.loss.is_finite() {
                let loss = report.loss;
                return Err(NotFinite { loss, images }.into());
            }
            if recorded.is_none_or(|moment| moment.elapsed() >= self.log_interval) {
                self.record(&report, images);
                recorded = Some(Instant::now());
            }
            self.progress(images, resumed, Some(&report));
            if training.steps() < steps && training.steps().is_multiple_of(self.measured_every()) {
                let found = training.reconstruct(self.at_once, 0)?;
                self.context.metric("psnr", images, found.psnr);
            }
        }
        keeper.save_needed(training)?;
        if !training.is_finite() {
            let images = training.images();
            return Err(NotFiniteWeights { images }.into());
        }
        Ok(())
    }

    fn measured_every(&self) -> u64 {
        u64::max(self.settings.steps() / MEASUREMENTS, 1)
    }

    fn record(&self, report: &AutoencoderReport, images: u64) {
        for (name, value) in [
            ("loss", report.loss),
            ("absolute_error", report.absolute),
            ("squared_error", report.squared),
            ("divergence", report.divergence),
            ("gradient_norm", report.gradient_norm),
            ("learning_rate", report.learning_rate),
        ] {
            self.context.metric(name, images, value);
        }
    }

    fn progress(&self, done: u64, resumed: u64, report: Option<&AutoencoderReport>) {
        self.context.progress(Progress {
            done,
            total: self.settings.steps() * u64::from(self.settings.batch_size),
            resumed,
            unit: "images".to_owned(),
            note: report.map_or_else(String::new, |report| format!("loss {:.4}", report.loss)),
        });
    }

    /// Makes the artifact.
    fn finish(&self, training: &AutoencoderTraining) -> Result<Outcome, StageError> {
        let found = training.reconstruct(self.at_once, SHOWN)?;
        self.context.metric("psnr", training.images(), found.psnr);
        let autoencoder = training.autoencoder();
        let config = AutoencoderConfig {
            scaling_factor: 1.0 / found.latent_deviation,
            ..autoencoder.config().clone()
        };
        let artifact = self.context.artifact();
        write_files(autoencoder, &config, artifact)?;
        durable::write(&artifact.join(PICTURE_FILE), &picture(&found)?)?;
        let parameters: usize = autoencoder
            .parameters()
            .iter()
            .map(|parameter| parameter.tensor.numel())
            .sum();
        let summary = json!({
            "report": format!(
                "an autoencoder of {parameters} parameters after {} steps: {:.2} dB on {} held-out images",
                training.steps(), found.psnr, training.held_out(),
            ),
            "steps": training.steps(),
            "images_seen": training.images(),
            "parameters": parameters,
            "psnr": found.psnr,
            "held_out_images": training.held_out(),
            "factor": config.factor(),
            "channels": config.latent_channels,
            "scaling_factor": config.scaling_factor,
        });
        Ok(Outcome::new(summary, Vec::new()))
    }
}

/// Held-out images, each with its reconstruction to its right.
fn picture(found: &Reconstructions) -> Result<Vec<u8>, StageError> {
    let bytes = |images: &Tensor| {
        let pixels = images.permute([0, 2, 3, 1]).contiguous();
        Vec::<u8>::try_from(pixels.flatten(0, -1))
            .expect("a flat tensor of bytes is a vector of bytes")
    };
    let size = found.images.size();
    let each = (size[1] * size[2] * size[3]) as usize;
    let [images, reconstructions] = [&found.images, &found.reconstructions].map(bytes);
    let pairs: Vec<&[u8]> = (images.chunks(each).zip(reconstructions.chunks(each)))
        .flat_map(|(image, reconstruction)| [image, reconstruction])
        .collect();
    let channels = Channels::try_from(size[1] as u32)?;
    let (width, height) = (size[3] as usize, size[2] as usize);
    Ok(grid_png(
        &pairs,
        width,
        height,
        channels,
        2 * PAIRS_IN_A_ROW,
        2,
        2,
    )?)
}
