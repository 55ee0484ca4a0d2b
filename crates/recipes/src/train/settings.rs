//! The settings of a `train` stage.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{
    AugmentOperation, EmaKind, Kind, LatentScaling, PatchSchedule, Precision, Preconditioning,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::network::NetworkSettings;
use super::snapshot_evaluation::SnapshotEvaluationSettings;
use super::{TrainingData, checks};
use crate::graph::{Inputs, Needed};
use crate::lists::in_order;
use crate::recipe::Recipe;

/// Settings of a stage that trains. Defaults are those of Patch Diffusion on 64×64 images.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["duration_images"]))]
pub struct TrainSettings {
    /// Images a step at the full side; a patch size of 1/2 takes twice, of 1/4 four times as many.
    #[default = 256]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: u32,
    /// Length of training, in images seen.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub duration_images: u64,
    /// Adam's learning rate between ramp and decay.
    #[default = 2e-4]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// The rate rises from 0 in a line over the first so many images.
    #[default = 10_000_000]
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub learning_rate_rampup_images: u64,
    /// The rate falls to 0 in a line over the last so many images.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub learning_rate_decay_images: u64,
    /// How the averaged network forgets.
    #[default(EmaKind::HalfLife)]
    pub ema: EmaKind,
    /// Half-life of the averaged network, in images; a power-function average has none, and ignores that of the presets.
    #[default = 500_000]
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub ema_half_life_images: u64,
    /// The half-life is at most this share of the images seen so far; 0 = no such limit.
    #[default = 0.05]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ema_rampup_ratio: f64,
    /// Share of steps at the full side (the paper's p).
    #[default = 0.5]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub full_image_ratio: f64,
    /// In what order the patch sizes come.
    #[default(PatchSchedule::Stochastic)]
    pub patch_schedule: PatchSchedule,
    /// From raw latents to what the network sees; none where it sees pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<LatentScaling>,
    /// Whether the network reads the position of a patch in its image.
    #[default = true]
    pub position_channels: bool,
    /// Probability that an image is mirrored left to right when it is loaded.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mirror_probability: f64,
    /// Probability of each augmentation, which the network is conditioned on; 0 = none. EDM uses 0.12 to 0.15.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub augment_probability: f64,
    /// Which augmentations, where their probability is above 0; where it is left out, EDM's.
    // In the order in which they are made; empty exactly when their probability is 0.
    pub augment_operations: Vec<AugmentOperation>,
    /// Whether the network is conditional on the class.
    pub class_conditional: bool,
    /// Probability that a class is withheld in training (for guidance).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_dropout: f64,
    /// Largest norm of the gradient; none = no limit.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub gradient_clip: Option<f64>,
    /// Compute precision of the network.
    #[default(Precision::Auto)]
    pub precision: Precision,
    /// Images seen at which the averaged network is retained, ascending, below the duration; 0 = the untrained network.
    /// The final network is always retained.
    pub snapshot_images: Vec<u64>,
    /// How each snapshot and the final network are evaluated, and the best of them retained; none = not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_evaluation: Option<SnapshotEvaluationSettings>,
    /// The averaged network is retained every so many thousand images too; none = at `snapshot_images` alone.
    #[schemars(range(min = 0.001, max = 1e9), extend("x-unit" = "thousand images"))]
    pub snapshot_kimg: Option<f64>,
    /// How many of the snapshots of `snapshot_kimg` stay, the newest, beside the best where they are evaluated; 0 = all.
    #[schemars(range(max = 1_000_000))]
    pub snapshots_kept: u32,
    /// Images sampled from each retained network, always from the same seeds; 0 = none.
    #[default = 16]
    #[schemars(range(max = 1024))]
    pub snapshot_samples: u32,
    /// Micro-batches of a step, forward and backward, each with its share of the images: less memory, same mathematics.
    #[default = 1]
    #[schemars(range(min = 1, max = 65_536))]
    pub gradient_accumulation: u32,
    /// A network's file whose weights training starts from; none = random weights.
    // In a job: its digest.
    pub init_from: Option<String>,
    /// The checkpoint of another training, from whose weights, averages, moments and images seen this one is resumed under
    /// its own settings; none = it begins at its beginning.
    // In a job: its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<String>,
    /// Whether the last checkpoint is in the artifact, for a training that is resumed from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub keep_checkpoint: bool,
    /// The factors around the network, with the noise levels and the weights that belong to them in training.
    pub preconditioning: Preconditioning,
    /// Standard deviation of the data that EDM's preconditioning assumes.
    #[default = 0.5]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub sigma_data: f64,
    /// Mean of the noise level's logarithm in training, under EDM's preconditioning.
    #[default(-1.2)]
    #[schemars(range(min = -100.0, max = 100.0))]
    pub p_mean: f64,
    /// Standard deviation of the noise level's logarithm in training, under EDM's preconditioning.
    #[default = 1.2]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub p_std: f64,
    /// Factor on the loss before its gradient is taken; required with `precision = "float16"`.
    #[default = 1.0]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub loss_scaling: f64,
    /// The network.
    pub network: NetworkSettings,
}

impl TrainSettings {
    /// Images seen at which the network is retained next, after `last`; none = before the final one there is no other.
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

    /// The augmentations in the order in which they are made: the same ones in another order are the same settings.
    fn settle_augmentation(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        const KEY: &str = "augment_operations";
        if self.augment_probability <= 0.0 {
            if section.has(KEY) {
                let problem = "names augmentations, but `augment_probability` is 0";
                return Err(section.invalid(KEY, problem));
            }
            return Ok(());
        }
        if !section.has(KEY) {
            self.augment_operations = AugmentOperation::EDM.to_vec();
        }
        if self.augment_operations.is_empty() {
            let problem = "is empty; for no augmentation set `augment_probability` to 0";
            return Err(section.invalid(KEY, problem));
        }
        self.augment_operations = in_order(&self.augment_operations);
        Ok(())
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
                    self.preconditioning
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

    fn check_start(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.resume_from.is_some() && self.init_from.is_some() {
            let problem =
                "resumes training from a checkpoint, weights included; leave out `init_from`";
            return Err(section.invalid("resume_from", problem));
        }
        Ok(())
    }
}

impl Recipe for TrainSettings {
    fn reads(&self) -> &'static [Needed] {
        const { &[Needed::one(&[Kind::Encode, Kind::Prepare])] }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        self.settle_augmentation(section)?;
        if let Some(evaluation) = &mut self.snapshot_evaluation {
            let table = section.table("snapshot_evaluation")?;
            evaluation.settle(table.as_ref().unwrap_or(section))?;
        }
        let network = section.table("network")?;
        self.network.settle(network.as_ref().unwrap_or(section))?;
        if self.precision == Precision::Float16 && !section.has("loss_scaling") {
            let problem = "is left out, and float16 loses small gradients without it; a power of two such as 1024 suits";
            return Err(section.invalid("loss_scaling", problem));
        }
        self.check_durations(section)?;
        self.check_snapshots(section)?;
        let (batch, rounds) = (self.batch_size, self.gradient_accumulation);
        if !batch.is_multiple_of(rounds) {
            let problem = format!("is {rounds}, which does not divide `batch_size` = {batch}");
            return Err(section.invalid("gradient_accumulation", problem));
        }
        self.check_preconditioning(section)?;
        self.check_start(section)?;
        if self.label_dropout > 0.0 && !self.class_conditional {
            let problem = "withholds classes, but `class_conditional` is false";
            return Err(section.invalid("label_dropout", problem));
        }
        Ok(())
    }

    /// The published scaling belongs to the published autoencoders.
    fn fit(&mut self, _: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        if let Some((_, encoding)) = inputs.encoding()
            && self.scaling.is_none()
        {
            self.scaling = Some(match encoding.autoencoder {
                Some(_) => LatentScaling::Sd,
                None => LatentScaling::PerChannel,
            });
        }
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        checks::has_images_for_each_rank(self, section, inputs.reader().execution.ranks)?;
        match TrainingData::of(inputs) {
            Some(data) => checks::fits(self, section, data),
            None => Ok(()),
        }
    }

    fn put_below(&mut self, folder: &Path) {
        let paths = [&mut self.init_from, &mut self.resume_from];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
}

/// Thousands of images as images.
pub fn images_of_kimg(kimg: f64) -> u64 {
    (kimg * 1000.0).round() as u64
}
