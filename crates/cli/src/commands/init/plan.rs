//! The settings of the pipeline, each with its reason.

use std::fmt::Write;

use patchwork_terms::Labels;
use patchwork_weights::{ExtractorSpec, Network, weights_folder};
use serde_json::{Value, json};

use super::findings::Findings;
use super::pace::Measured;
use super::preset;
use super::questions::Answers;
use super::setting::{Setting, Table};
use crate::arguments::Arguments;

/// Minutes of training on a CPU, unless others are asked for.
const MINUTES_ON_CPU: f64 = 15.0;

/// The length of training on a CPU whose speed is not known: that of `pipelines/demo.toml`.
const USUAL_ON_CPU: u64 = 36_000;

/// The shortest training, however slow the machine is.
const LEAST_DURATION: u64 = 200;

/// How often an image is seen, on the average, above which training shows it in other forms too.
const MANY_TIMES: u64 = 200;

/// How often each image is seen on a GPU: that of the published trainings on some 5,000 images.
const TIMES_ON_GPU: u64 = 15_000;

/// Lengths of the published trainings in images: of 64x64 on few and on many images, and of 32x32.
const PUBLISHED_SMALL: u64 = 75_000_000;
const PUBLISHED: u64 = 200_000_000;

/// Numbers of samples, of which the largest is taken whose sampling takes less than half of the time of training.
const SAMPLES_ON_CPU: [u64; 4] = [1000, 500, 200, 100];

/// The settings over a preset.
pub(super) struct Plan {
    pub(super) preset: &'static str,
    pub(super) settings: Vec<Setting>,
    /// Of training and sampling, where the speed was measured.
    pub(super) expected_seconds: Option<f64>,
    images: u64,
    is_cpu: bool,
}

impl Plan {
    /// Everything that does not depend on how fast this machine is.
    pub(super) fn of(found: &Findings, answers: &Answers, arguments: &Arguments) -> Self {
        let Answers {
            resolution, device, ..
        } = answers;
        let mut plan = Self {
            preset: preset::suiting(device, *resolution, found.images),
            settings: Vec::new(),
            expected_seconds: None,
            images: found.images as u64,
            is_cpu: device == "cpu",
        };
        if !plan.is_cpu {
            let reason = "where stages compute; the same as `--device` on the command line";
            plan.set(Table::Top, "device", json!(device), reason);
        }
        plan.prepare(found, *resolution);
        plan.extractor(arguments);
        if let Some(side) = preset::attention(plan.preset, *resolution) {
            let reason = "the level with attention, which has another size at this resolution";
            plan.set(Table::Network, "attn_resolutions", json!([side]), reason);
        }
        if let Ok(classes) = &found.classes {
            let reason =
                "the network is conditioned on the class, so that one class can be sampled alone";
            plan.set(Table::Train, "class_conditional", json!(true), reason);
            let shown = classes
                .names
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            let reason = format!(
                "classes as often as among the images; `patchwork sample RUN --labels NAME`, such as `{shown}`, samples one"
            );
            plan.set(Table::Sample, "labels", json!("dataset"), &reason);
        }
        plan
    }

    fn prepare(&mut self, found: &Findings, resolution: u32) {
        let reason = format!("{}; {}", found.reading, found.count_text());
        self.set(Table::Prepare, "source", json!(found.source), &reason);
        let mut reason = found.sizes_text();
        if !reason.ends_with("all square") {
            reason.push_str("; the centre is cut out, `transform = \"stretch\"` takes the whole");
        }
        if let Some((width, height)) = found.one_oblong_size() {
            let (least, most) = (u32::min(width, height), u32::max(width, height));
            let other = f64::from(resolution) * f64::from(most) / f64::from(least);
            let other = (other / 16.0).round() as u32 * 16;
            let (wide, high) = if width > height {
                (other, resolution)
            } else {
                (resolution, other)
            };
            let _ = write!(
                reason,
                "; for the whole of {width} x {height} pixels: `resolution = {wide}`, `height = {high}`"
            );
        }
        match found.enlarged_at(resolution) {
            0 => {}
            some => {
                let _ = write!(
                    reason,
                    "; {some} of {} are smaller than {resolution} pixels and are enlarged",
                    found.look.sizes.len()
                );
            }
        }
        self.set(Table::Prepare, "resolution", json!(resolution), &reason);
        let (labels, reason) = match &found.classes {
            Ok(classes) => (classes.labels, classes.text()),
            Err(problem) => (Labels::None, problem.clone()),
        };
        self.set(Table::Prepare, "labels", json!(labels.name()), &reason);
        if let Some(bits) = found.depth() {
            let reason = format!(
                "the 16-bit samples reach {}, and would come out dark",
                found.look.depth.largest
            );
            self.set(Table::Prepare, "depth", json!(bits), &reason);
        }
        if let Some((image, cause)) = found.look.unusable.first() {
            let (unusable, all) = (found.look.unusable.len(), found.look.images);
            let share = f64::min(1.0, (200.0 * unusable as f64 / all as f64).ceil() / 100.0);
            let reason = format!(
                "{unusable} of {all} images that were looked at cannot be used, such as `{image}` ({cause}); they are left \
                 out, and more than this share of all fails"
            );
            self.set(Table::Prepare, "max_rejected", json!(share), &reason);
        }
    }

    /// Inception's weights, which the presets for GPUs measure with, may be missing.
    fn extractor(&mut self, arguments: &Arguments) {
        if self.is_cpu {
            return;
        }
        let weights = weights_folder(arguments.weights.clone());
        let inception = ExtractorSpec::new(Network::InceptionV3);
        if inception.missing_from(&weights).is_some() {
            let reason = "for FID: `patchwork weights get inception`, then \"inception-v3\" here";
            let shipped = ExtractorSpec::new(Network::EfficientNetLite0);
            self.set(Table::Reference, "extractor", json!(shipped.name()), reason);
        }
    }

    fn set(&mut self, table: Table, key: &'static str, value: impl Into<Value>, reason: &str) {
        let value: Value = value.into();
        let value = match value.as_u64() {
            Some(number) => grouped(number),
            None => toml(&value),
        };
        self.settings.push(Setting {
            table,
            key,
            value,
            reason: reason.to_owned(),
        });
    }

    /// Adds what depends on how fast this machine is: the length of training, by `minutes` where they are given.
    pub(super) fn set_pace(&mut self, measured: Option<&Measured>, minutes: Option<f64>) {
        if let Some(measured) = measured.filter(|measured| measured.gradient_accumulation > 1) {
            let reason = "a step takes so many parts, one after the other: at once it does not fit into memory";
            let parts = json!(measured.gradient_accumulation);
            self.set(Table::Train, "gradient_accumulation", parts, reason);
        }
        if let Some(measured) = measured {
            let memory = match measured.memory_bytes {
                Some(bytes) => format!("; a step takes about {} MiB of memory", bytes >> 20),
                None => "; a step fits into the memory of the device".to_owned(),
            };
            let reason = format!("images a step of whole images{memory}");
            self.set(
                Table::Train,
                "batch_size",
                json!(measured.batch_size),
                &reason,
            );
        }
        let rate = measured.map(|measured| measured.images_per_second);
        let minutes = minutes.or(self.is_cpu.then_some(MINUTES_ON_CPU));
        let duration = match (minutes, rate) {
            (Some(minutes), Some(rate)) => rounded(minutes * 60.0 * rate),
            _ if self.is_cpu => USUAL_ON_CPU,
            _ => self.duration_on_gpu(),
        };
        let duration = u64::max(duration, LEAST_DURATION);
        let reason = match measured {
            Some(measured) => format!(
                "about {} on this machine: an estimate, from {:.0} images/s measured for some seconds",
                about(duration as f64 / measured.images_per_second),
                measured.images_per_second
            ),
            None => "images seen; how long that takes here could not be measured".to_owned(),
        };
        self.set(Table::Train, "duration_images", json!(duration), &reason);
        self.set_lengths(duration);
        let train_seconds = rate.map(|rate| duration as f64 / rate);
        let samples = self.set_samples(measured, train_seconds);
        self.expected_seconds = match (measured, train_seconds) {
            (Some(measured), Some(seconds)) => {
                Some(seconds + samples as f64 * measured.seconds_per_sample)
            }
            _ => None,
        };
    }

    /// As often as in the published trainings, and not longer than those.
    fn duration_on_gpu(&self) -> u64 {
        let most = match self.preset {
            "pixel-64-small" => PUBLISHED_SMALL,
            _ => PUBLISHED,
        };
        let wished = rounded((self.images * TIMES_ON_GPU) as f64);
        wished.clamp(2_000_000, most)
    }

    /// What goes with the length of training.
    fn set_lengths(&mut self, duration: u64) {
        let share = |part: u64| rounded((duration / part) as f64).max(1);
        let times = duration / self.images.max(1);
        if self.is_cpu {
            let warm_up = u64::min(2000, share(10));
            let reason = "the rate rises over the first so many images, and falls over the last";
            self.set(
                Table::Train,
                "learning_rate_rampup_images",
                json!(warm_up),
                reason,
            );
            self.set(
                Table::Train,
                "learning_rate_decay_images",
                json!(share(4)),
                "",
            );
            let reason = "the averaged network forgets half in so many images";
            self.set(
                Table::Train,
                "ema_half_life_images",
                json!(share(40)),
                reason,
            );
            let reason = "networks on the way, to look at: `just serve` shows their images";
            let snapshots = [share(4), share(2)];
            self.settings.push(Setting {
                table: Table::Train,
                key: "snapshot_images",
                value: format!("[{}, {}]", grouped(snapshots[0]), grouped(snapshots[1])),
                reason: reason.to_owned(),
            });
            if times >= MANY_TIMES {
                let reason = format!(
                    "each image is seen some {times} times: moved, scaled and mirrored, on which the network is conditioned, it is \
                     memorised later"
                );
                self.set(Table::Train, "augment_probability", json!(0.12), &reason);
            }
        } else if duration < PUBLISHED_SMALL {
            let reason = "these go with the length of training";
            self.set(
                Table::Train,
                "learning_rate_rampup_images",
                json!(share(20)),
                reason,
            );
            self.set(
                Table::Train,
                "ema_half_life_images",
                json!(u64::min(500_000, share(50))),
                "",
            );
            let reason = "a network every so many thousand images";
            self.set(
                Table::Train,
                "snapshot_kimg",
                json!(u64::max(1, share(20) / 1000)),
                reason,
            );
        }
    }

    /// How many images are sampled.
    fn set_samples(&mut self, measured: Option<&Measured>, train_seconds: Option<f64>) -> u64 {
        let (samples, reason) = if self.is_cpu {
            let fits = |count: &u64| match (measured, train_seconds) {
                (Some(measured), Some(seconds)) => {
                    *count as f64 * measured.seconds_per_sample <= seconds / 2.0
                }
                _ => true,
            };
            let fewest = SAMPLES_ON_CPU[SAMPLES_ON_CPU.len() - 1];
            let samples = SAMPLES_ON_CPU.into_iter().find(fits).unwrap_or(fewest);
            (
                samples,
                "one image a seed; distances of few images are larger",
            )
        } else if self.images < 10_000 {
            (
                10_000,
                "one image a seed; published distances are of 50,000",
            )
        } else {
            (
                50_000,
                "one image a seed, as many as published distances are of",
            )
        };
        let reason = match measured {
            Some(measured) => format!(
                "{reason}; about {} on this machine",
                about(samples as f64 * measured.seconds_per_sample)
            ),
            None => reason.to_owned(),
        };
        let seeds = json!(format!("0-{}", samples - 1));
        self.set(Table::Sample, "seeds", seeds, &reason);
        samples
    }
}

/// A number with two digits that are not zero.
fn rounded(number: f64) -> u64 {
    let mut step = 1.0;
    while number / step >= 100.0 {
        step *= 10.0;
    }
    ((number / step).floor() * step) as u64
}

/// A number as people write it in TOML: `36_000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && digits.len() > 4 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A value as TOML, which writes strings, numbers and lists as JSON does, but for one character.
fn toml(value: &Value) -> String {
    value.to_string().replace('\u{7f}', "\\u007f")
}

/// A time in words, to the precision of an estimate.
pub(super) fn about(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    if seconds < 100.0 {
        format!("{:.0} s", f64::max(1.0, seconds))
    } else if seconds < 100.0 * MINUTE {
        format!("{:.0} min", seconds / MINUTE)
    } else if seconds < 2.0 * DAY {
        format!("{:.1} h", seconds / HOUR)
    } else {
        format!("{:.1} days", seconds / DAY)
    }
}

#[cfg(test)]
mod tests;
