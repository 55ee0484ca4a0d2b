//! The settings of a `train` stage.

use patchwork_terms::{
    AugmentOperation, EmaKind, FastPath, LatentScaling, PatchPart, PatchSchedule, Precision,
    Preconditioning,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::network::NetworkSettings;
use super::snapshot_evaluation::SnapshotEvaluationSettings;

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
    /// The patch sizes of the other steps, in the paper's proportion of 2 quarters to 3 halves where both are used.
    // From small to large; both where no step uses them.
    #[default(PatchPart::ALL.to_vec())]
    #[serde(skip_serializing_if = "are_all_sizes")]
    #[schemars(!skip_serializing_if)]
    pub patch_sizes: Vec<PatchPart>,
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
    /// Ways through a step that are meant to be faster on a GPU; none of them has been seen on one yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(!skip_serializing_if)]
    pub fast_paths: Vec<FastPath>,
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

fn are_all_sizes(sizes: &[PatchPart]) -> bool {
    sizes == PatchPart::ALL
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
}

/// Thousands of images as images.
pub fn images_of_kimg(kimg: f64) -> u64 {
    (kimg * 1000.0).round() as u64
}
