//! A data set to a network.

use patchwork_terms::{AugmentOperation, EmaKind, PatchSchedule, Precision, Preconditioning};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::settings::network::{self, NetworkSettings};
use crate::settings::snapshot_evaluation::{self, SnapshotEvaluationSettings};

pub(crate) const KEYS: &[&str] = &[
    "batch_size",
    "duration_images",
    "learning_rate",
    "learning_rate_rampup_images",
    "learning_rate_decay_images",
    "ema",
    "ema_half_life_images",
    "ema_rampup_ratio",
    "full_image_ratio",
    "patch_schedule",
    "position_channels",
    "mirror_probability",
    "augment_probability",
    "augment_operations",
    "class_conditional",
    "label_dropout",
    "gradient_clip",
    "precision",
    "snapshot_images",
    "snapshot_evaluation",
    "snapshot_kimg",
    "snapshots_kept",
    "snapshot_samples",
    "gradient_accumulation",
    "init_from",
    "resume_from",
    "keep_checkpoint",
    "preconditioning",
    "sigma_data",
    "p_mean",
    "p_std",
    "loss_scaling",
    "network",
];

/// Settings of a stage that trains. Defaults are those of Patch Diffusion on 64×64 images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// Images a step at the full side; a side of 1/2 takes twice, of 1/4 four times as many.
    pub batch_size: u32,
    /// Length of training, in images seen.
    pub duration_images: u64,
    /// Adam's learning rate between ramp and decay.
    pub learning_rate: f64,
    /// The rate rises from 0 in a line over the first so many images.
    pub learning_rate_rampup_images: u64,
    /// The rate falls to 0 in a line over the last so many images.
    pub learning_rate_decay_images: u64,
    /// How the averaged network forgets.
    pub ema: EmaKind,
    /// Half-life of the averaged network, in images; a power-function average has none, and passes over the presets'.
    pub ema_half_life_images: u64,
    /// The half-life is at most this share of the images seen so far; 0 = no such limit.
    pub ema_rampup_ratio: f64,
    /// Share of rounds at the full side, in [0, 1] (the paper's p).
    pub full_image_ratio: f64,
    /// In what order the sides come.
    pub patch_schedule: PatchSchedule,
    /// Whether the network is told where in the image a patch lies.
    pub position_channels: bool,
    /// Probability that an image is mirrored left to right when it is loaded, in [0, 1].
    pub mirror_probability: f64,
    /// Probability of each augmentation that the network is told about, in [0, 1]; 0 = none. EDM uses 0.12 to 0.15.
    pub augment_probability: f64,
    /// Which augmentations, in the order in which they are made; empty exactly when their probability is 0.
    pub augment_operations: Vec<AugmentOperation>,
    /// Whether the network is told the class.
    pub class_conditional: bool,
    /// Probability that a class is withheld in training (for guidance), in [0, 1].
    pub label_dropout: f64,
    /// Largest norm of the gradient; none = no limit.
    pub gradient_clip: Option<f64>,
    /// The number type that the network computes in.
    pub precision: Precision,
    /// Images seen at which the averaged network is kept, ascending, below the duration; 0 = the
    /// untrained network. The final network is always kept.
    pub snapshot_images: Vec<u64>,
    /// How each snapshot and the final network are measured, and the best of them kept; none = not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_evaluation: Option<SnapshotEvaluationSettings>,
    /// It is kept every so many thousand images too; none = at `snapshot_images` alone.
    #[serde(default)]
    pub snapshot_kimg: Option<f64>,
    /// How many of those of `snapshot_kimg` stay, the newest, beside the best where a distance is measured; 0 = all.
    #[serde(default)]
    pub snapshots_kept: u32,
    /// Images drawn from each kept network, always from the same seeds; 0 = none.
    #[serde(default = "default_snapshot_samples")]
    pub snapshot_samples: u32,
    /// Rounds of forward and backward in a step, each with its share of the images: less memory, same mathematics.
    #[serde(default = "one")]
    pub gradient_accumulation: u32,
    /// A network's file whose weights training starts from; none = random weights.
    #[serde(default)]
    pub init_from: Option<String>,
    /// The checkpoint of another training, from whose weights, averages, moments and images seen this one goes on under its
    /// own settings; none = it begins at its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<String>,
    /// Whether the last checkpoint is in the artifact, for a training that goes on from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_checkpoint: bool,
    /// The factors around the network, with the noise levels and the weights that belong to them in training.
    pub preconditioning: Preconditioning,
    /// Standard deviation of the data that EDM's preconditioning assumes.
    pub sigma_data: f64,
    /// Mean of the noise level's logarithm in training, under EDM's preconditioning.
    pub p_mean: f64,
    /// Standard deviation of the noise level's logarithm in training, under EDM's preconditioning.
    pub p_std: f64,
    /// Factor on the loss before its gradient is taken.
    pub loss_scaling: f64,
    /// The network.
    pub network: NetworkSettings,
}

fn default_snapshot_samples() -> u32 {
    16
}

fn one() -> u32 {
    1
}

impl TrainSettings {
    /// Images seen at which the network is kept next, after `last`; none = before the final one there is no other.
    pub fn next_snapshot(&self, last: Option<u64>) -> Option<u64> {
        let listed = self.snapshot_images.iter().copied();
        let listed = listed.filter(|&images| last.is_none_or(|last| images > last));
        let regular = self.snapshot_interval().map(|interval| {
            let passed = last.map_or(0, |last| last / interval);
            (passed + 1) * interval
        });
        listed
            .chain(regular)
            .min()
            .filter(|&images| images < self.duration_images)
    }

    /// Images between two regular snapshots.
    pub fn snapshot_interval(&self) -> Option<u64> {
        self.snapshot_kimg.map(images_of_kimg)
    }

    /// Whether the network at this many images is in the artifact whatever is measured on the way.
    pub fn keeps_snapshot(&self, images: u64) -> bool {
        if self.snapshot_images.contains(&images) {
            return true;
        }
        self.snapshot_interval().is_some_and(|interval| {
            let newest = (self.duration_images - 1) / interval;
            let number = images / interval;
            images.is_multiple_of(interval)
                && (1..=newest).contains(&number)
                && (self.snapshots_kept == 0 || newest - number < self.snapshots_kept.into())
        })
    }

    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        const IMAGES: std::ops::RangeInclusive<u64> = 0..=1_000_000_000_000;
        let network = section.table("network", network::KEYS)?;
        let snapshot_evaluation =
            section.table("snapshot_evaluation", snapshot_evaluation::KEYS)?;
        let settings = Self {
            batch_size: section.integer("batch_size", Some(256), 1..=65_536)?,
            duration_images: section.integer("duration_images", None, 1..=1_000_000_000_000)?,
            learning_rate: section.positive("learning_rate", 2e-4)?,
            learning_rate_rampup_images: section.integer(
                "learning_rate_rampup_images",
                Some(10_000_000),
                IMAGES,
            )?,
            learning_rate_decay_images: section.integer(
                "learning_rate_decay_images",
                Some(0),
                IMAGES,
            )?,
            ema: section.or("ema", EmaKind::HalfLife)?,
            ema_half_life_images: section.integer("ema_half_life_images", Some(500_000), IMAGES)?,
            ema_rampup_ratio: section.number("ema_rampup_ratio", Some(0.05), 0.0..=1.0)?,
            full_image_ratio: section.number("full_image_ratio", Some(0.5), 0.0..=1.0)?,
            patch_schedule: section.or("patch_schedule", PatchSchedule::Stochastic)?,
            position_channels: section.or("position_channels", true)?,
            mirror_probability: section.number("mirror_probability", Some(0.0), 0.0..=1.0)?,
            augment_probability: section.number("augment_probability", Some(0.0), 0.0..=1.0)?,
            augment_operations: augment_operations(section)?,
            class_conditional: section.or("class_conditional", false)?,
            label_dropout: section.number("label_dropout", Some(0.0), 0.0..=1.0)?,
            gradient_clip: section.optional_positive("gradient_clip")?,
            precision: section.or("precision", Precision::Auto)?,
            snapshot_images: section.or("snapshot_images", Vec::new())?,
            snapshot_evaluation: snapshot_evaluation
                .as_ref()
                .map(SnapshotEvaluationSettings::read)
                .transpose()?,
            snapshot_kimg: kimg(section, "snapshot_kimg")?,
            snapshots_kept: section.integer("snapshots_kept", Some(0), 0..=1_000_000)?,
            snapshot_samples: section.integer(
                "snapshot_samples",
                Some(default_snapshot_samples()),
                0..=1024,
            )?,
            gradient_accumulation: section.integer("gradient_accumulation", Some(1), 1..=65_536)?,
            init_from: section.optional("init_from")?,
            resume_from: section.optional("resume_from")?,
            keep_checkpoint: section.or("keep_checkpoint", false)?,
            preconditioning: section.or("preconditioning", Preconditioning::Edm)?,
            sigma_data: section.positive("sigma_data", 0.5)?,
            p_mean: section.number("p_mean", Some(-1.2), -100.0..=100.0)?,
            p_std: section.positive("p_std", 1.2)?,
            loss_scaling: section.positive("loss_scaling", 1.0)?,
            network: NetworkSettings::read(network.as_ref())?,
        };
        if settings.precision == Precision::Float16 && !section.has("loss_scaling") {
            let problem = "is left out, and float16 loses small gradients without it; a power of two such as 1024 suits";
            return Err(section.invalid("loss_scaling", problem));
        }
        settings.check_durations(section)?;
        settings.check_snapshots(section)?;
        let (batch, rounds) = (settings.batch_size, settings.gradient_accumulation);
        if !batch.is_multiple_of(rounds) {
            let problem = format!("is {rounds}, which does not divide `batch_size` = {batch}");
            return Err(section.invalid("gradient_accumulation", problem));
        }
        settings.check_preconditioning(section)?;
        if settings.resume_from.is_some() && settings.init_from.is_some() {
            let problem =
                "has training go on from a checkpoint, weights and all; leave out `init_from`";
            return Err(section.invalid("resume_from", problem));
        }
        if settings.label_dropout > 0.0 && !settings.class_conditional {
            let problem = "withholds classes, but `class_conditional` is false";
            return Err(section.invalid("label_dropout", problem));
        }
        Ok(settings)
    }

    /// The other preconditionings have noise levels and weights of their own.
    fn check_preconditioning(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.preconditioning == Preconditioning::Edm {
            return Ok(());
        }
        match ["sigma_data", "p_mean", "p_std"]
            .into_iter()
            .find(|key| section.has(key))
        {
            Some(key) => {
                let problem = format!(
                    "belongs to `preconditioning` = \"edm\"; \"{}\" has noise levels and weights of its own",
                    self.preconditioning.name()
                );
                Err(section.invalid(key, problem))
            }
            None => Ok(()),
        }
    }

    fn check_durations(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let duration = self.duration_images;
        let (ramp, decay) = (
            self.learning_rate_rampup_images,
            self.learning_rate_decay_images,
        );
        if decay > 0 && ramp.saturating_add(decay) > duration {
            let problem = format!(
                "is {decay}, which with `learning_rate_rampup_images` = {ramp} does not fit into \
                 `duration_images` = {duration}"
            );
            return Err(section.invalid("learning_rate_decay_images", problem));
        }
        Ok(())
    }

    fn check_snapshots(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let duration = self.duration_images;
        if self.snapshots_kept > 0 && self.snapshot_kimg.is_none() {
            let problem = "thins out the snapshots of `snapshot_kimg`, which is not set";
            return Err(section.invalid("snapshots_kept", problem));
        }
        if !self
            .snapshot_images
            .is_sorted_by(|earlier, later| earlier < later)
        {
            let problem = format!("must ascend, but are {:?}", self.snapshot_images);
            return Err(section.invalid("snapshot_images", problem));
        }
        if let Some(late) = self
            .snapshot_images
            .iter()
            .find(|images| **images >= duration)
        {
            let problem = format!(
                "has {late}, which is not below `duration_images` = {duration}; \
                 the final network is always kept"
            );
            return Err(section.invalid("snapshot_images", problem));
        }
        Ok(())
    }
}

/// A number of thousand images that is at least one image, if there is one.
pub(crate) fn kimg(section: &Section<'_>, key: &str) -> Result<Option<f64>, ConfigError> {
    match section.optional_positive(key)? {
        Some(value) if !(0.001..=1e9).contains(&value) => Err(section.invalid(
            key,
            format!("is {value} thousand images, not between 0.001 and 1e9"),
        )),
        value => Ok(value),
    }
}

/// Thousands of images as images.
pub fn images_of_kimg(kimg: f64) -> u64 {
    (kimg * 1000.0).round() as u64
}

/// The augmentations in the order in which they are made: the same ones in another order are the same settings.
fn augment_operations(section: &Section<'_>) -> Result<Vec<AugmentOperation>, ConfigError> {
    const KEY: &str = "augment_operations";
    if section.or("augment_probability", 0.0)? <= 0.0 {
        if section.has(KEY) {
            let problem = "names augmentations, but `augment_probability` is 0";
            return Err(section.invalid(KEY, problem));
        }
        return Ok(Vec::new());
    }
    let chosen = section.or(KEY, AugmentOperation::EDM.to_vec())?;
    if chosen.is_empty() {
        let problem = "is empty; for no augmentation set `augment_probability` to 0";
        return Err(section.invalid(KEY, problem));
    }
    let all = AugmentOperation::ALL.iter().copied();
    Ok(all.filter(|operation| chosen.contains(operation)).collect())
}
