//! Telemetry of a training: metrics for the registry, and TensorBoard's files beside the run's logs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchwork_artifacts::resources;
use patchwork_artifacts::worker::Context;
use patchwork_diffusion::StepReport;

use super::events::Events;

/// Limits between which losses are gathered by noise level σ.
const NOISE_LEVELS: [f64; 7] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Measurements since the last recorded point, and where they go.
pub(super) struct Telemetry<'a> {
    context: &'a Context,
    events: Events,
    interval: Duration,
    since: Instant,
    images: u64,
    data_seconds: f64,
    loss: Mean,
    gradient_norm: Mean,
    cleaned_share: Mean,
    sides: BTreeMap<i64, Mean>,
    noise_levels: [Mean; NOISE_LEVELS.len() + 1],
}

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> f64 {
        self.sum / self.count as f64
    }
}

impl<'a> Telemetry<'a> {
    /// The folder is the stage's own among the run's logs.
    pub(super) fn new(context: &'a Context, folder: PathBuf, interval: Duration) -> Self {
        Self {
            context,
            events: Events::new(folder),
            interval,
            since: Instant::now(),
            images: 0,
            data_seconds: 0.0,
            loss: Mean::default(),
            gradient_norm: Mean::default(),
            cleaned_share: Mean::default(),
            sides: BTreeMap::new(),
            noise_levels: [Mean::default(); NOISE_LEVELS.len() + 1],
        }
    }

    /// Training resumes from `images_seen`: what was recorded of later ones no longer holds.
    pub(super) fn resume_from(&mut self, images_seen: u64) {
        self.start_over();
        self.context.resumed(images_seen);
        // What was recorded at `images_seen` itself holds.
        let first_step = if images_seen == 0 { 0 } else { images_seen + 1 };
        self.events.resume_from(self.context, first_step);
    }

    /// Whether the next step's report is recorded.
    pub(super) fn is_due(&self) -> bool {
        self.since.elapsed() >= self.interval
    }

    /// Takes the time that a step waited for its images.
    pub(super) fn waited_for_data(&mut self, time: Duration) {
        self.data_seconds += time.as_secs_f64();
    }

    /// Takes a step of so many images.
    pub(super) fn add(&mut self, report: &StepReport, images: u64) {
        let side = report.side.side();
        let loss = report.pixel_loss();
        self.images += images;
        self.loss.add(loss);
        self.gradient_norm.add(report.gradient_norm);
        self.cleaned_share.add(report.cleaned_share);
        self.sides.entry(side).or_default().add(loss);
        for image in &report.image_losses {
            let level = NOISE_LEVELS.partition_point(|&limit| limit <= image.sigma);
            self.noise_levels[level].add(image.loss);
        }
    }

    /// Records what has gathered; `report` is the last step's.
    pub(super) fn record(&mut self, report: &StepReport, loss_ratio: f64) {
        let seconds = self.since.elapsed().as_secs_f64();
        // The range leaves out non-finite losses, and says nothing of a step that has one.
        let loss_ratio = if self.loss.value().is_finite() {
            loss_ratio
        } else {
            f64::NAN
        };
        let mut values: Vec<(String, f64)> = [
            ("loss", self.loss.value()),
            ("loss_ratio", loss_ratio),
            ("gradient_norm", self.gradient_norm.value()),
            ("cleaned_share", self.cleaned_share.value()),
            ("learning_rate", report.learning_rate),
            ("ema_beta", report.ema_betas[0]),
            ("images_per_second", self.images as f64 / seconds),
            ("data_share", self.data_seconds / seconds),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        values.extend(
            report
                .update_ratio
                .map(|ratio| ("update_ratio".to_owned(), ratio)),
        );
        values.extend(
            resources::memory()
                .map(|memory| ("memory_mib".to_owned(), mebibytes(memory.resident_bytes))),
        );
        for (side, mean) in &self.sides {
            values.push((format!("loss_by_side/{side}"), mean.value()));
        }
        for (level, mean) in self.noise_levels.iter().enumerate() {
            if mean.count > 0 {
                values.push((
                    format!("loss_by_noise/{}", noise_level(level)),
                    mean.value(),
                ));
            }
        }
        for (name, value) in &values {
            self.context.metric(name, report.images_seen_after, *value);
        }
        let scalars: Vec<(&str, f64)> = values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        self.events
            .scalars(self.context, report.images_seen_after, &scalars);
        self.start_over();
    }

    /// Shows images that were sampled from the network of so many images seen.
    pub(super) fn samples(&mut self, images_seen: u64, png: &[u8]) {
        self.events.image(self.context, images_seen, "samples", png);
    }

    fn start_over(&mut self) {
        self.since = Instant::now();
        self.images = 0;
        self.data_seconds = 0.0;
        self.loss = Mean::default();
        self.gradient_norm = Mean::default();
        self.cleaned_share = Mean::default();
        self.sides.clear();
        self.noise_levels = [Mean::default(); NOISE_LEVELS.len() + 1];
    }
}

/// The name of a range of noise levels; ranges sort as their names do.
fn noise_level(level: usize) -> String {
    match level {
        0 => format!("0.00-{:.2}", NOISE_LEVELS[0]),
        _ if level == NOISE_LEVELS.len() => format!("{:.2}-up", NOISE_LEVELS[level - 1]),
        _ => format!("{:.2}-{:.2}", NOISE_LEVELS[level - 1], NOISE_LEVELS[level]),
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_noise_levels_are_named_in_their_order() {
        let names: Vec<String> = (0..=NOISE_LEVELS.len()).map(noise_level).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(
            (names[0].as_str(), names[7].as_str()),
            ("0.00-0.05", "5.00-up")
        );
    }
}
