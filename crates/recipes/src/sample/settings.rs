//! The settings of a `sample` stage.

use patchwork_config::schema::shape;
use patchwork_terms::{
    Discretization, Export, NoiseSchedule, Precision, SampleLabels, Scaling, Solver,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use smart_default::SmartDefault;

use super::classes;
use super::grid::Grid;
use super::region::Region;
use super::seeds::{self, SeedRange};

/// The keyword by which the schema of a key says that the setting changes no image, or only which moment of training is
/// sampled, which the images seen say already.
const CHANGES_NO_SAMPLE: &str = "x-changes-no-sample";

/// Whether sets of samples that differ in the setting of that name differ in how they were made.
pub fn distinguishes_samples(key: &str) -> bool {
    let schema = shape::<SampleSettings>().key(key);
    schema.is_none_or(|schema| schema.get(CHANGES_NO_SAMPLE).is_none())
}

/// Settings of a stage that samples. Defaults are those of EDM, Table 1, deterministic.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SampleSettings {
    /// One image a seed, in this order: numbers and ranges such as `0-9,100`, none of them twice.
    #[default(vec![SeedRange { first: 0, last: 999 }])]
    #[serde(deserialize_with = "seeds::read")]
    #[schemars(with = "seeds::Typed", extend("default" = "0-999"))]
    pub seeds: Vec<SeedRange>,
    /// Noise levels; Heun evaluates the network `2 * steps - 1` times.
    #[default = 18]
    #[schemars(range(min = 2, max = 10_000))]
    pub steps: u32,
    /// The way from one noise level to the next.
    #[default(Solver::Heun)]
    pub solver: Solver,
    /// Which noise levels are visited.
    #[default(Discretization::Edm)]
    pub discretization: Discretization,
    /// How the noise level depends on time.
    #[default(NoiseSchedule::Linear)]
    pub schedule: NoiseSchedule,
    /// How the state is scaled on its way.
    #[default(Scaling::None)]
    pub scaling: Scaling,
    /// Lowest noise level above 0; none = the discretization's own, of EDM 0.002. A network's own range limits it.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub sigma_min: Option<f64>,
    /// Highest noise level; none = the discretization's own, of EDM 80. A network's own range limits it.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub sigma_max: Option<f64>,
    /// How strongly levels crowd at the low end (EDM, equation 5).
    #[default = 7.0]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rho: f64,
    /// Amount of fresh noise; 0 = deterministic (EDM, algorithm 2).
    #[schemars(range(min = 0.0, max = 1e6))]
    pub s_churn: f64,
    /// Lowest noise level that gets fresh noise.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub s_min: f64,
    /// Highest noise level that gets fresh noise; none = infinity.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub s_max: Option<f64>,
    /// Standard deviation of the fresh noise.
    #[default = 1.0]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub s_noise: f64,
    /// Strength of classifier-free guidance; none = the conditional network alone.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub guidance: Option<f64>,
    /// Noise levels above the first and up to the second at which guidance applies; none = all.
    #[serde(deserialize_with = "guidance_interval")]
    pub guidance_interval: Option<[f64; 2]>,
    /// Which classes are sampled.
    #[default(SampleLabels::None)]
    pub labels: SampleLabels,
    /// The classes that are sampled, by name or number: one, or several that take turns image by image; none = as `labels`
    /// says.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "classes::read"
    )]
    #[schemars(with = "classes::Typed", extend("default" = []))]
    pub classes: Vec<String>,
    /// Images from each seed to the next, both included, on the great circle between what they start from; none = one image
    /// a seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 10_000))]
    pub interpolate: Option<u32>,
    /// The part of the canvas that is sampled; none = all of it.
    pub region: Option<Region>,
    /// The autoencoder that decodes samples of latents, where it is another than the one that encoded: one with the same
    /// encoder, such as `sd-vae-ft-mse` for `sd-vae-ft-ema`.
    // In a job: the digest of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoencoder: Option<String>,
    /// Images at once; fewer where memory does not suffice, which changes no image.
    #[default = 64]
    #[schemars(range(min = 1, max = 65_536), extend("x-changes-no-sample" = true))]
    pub batch_size: u32,
    /// Maximum number of images in one shard file; the default is less for large images.
    #[default = 1000]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-changes-no-sample" = true))]
    pub images_per_shard: u32,
    /// Compute precision of the network.
    #[default(Precision::Auto)]
    pub precision: Precision,
    /// The snapshot of training that is sampled, by its images seen; none = the final network.
    #[schemars(extend("x-changes-no-sample" = true))]
    pub at_images: Option<u64>,
    /// Whether the best network that training evaluated is sampled, rather than the final one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if, extend("x-changes-no-sample" = true))]
    pub best_snapshot: bool,
    /// Relative width of the average that is sampled, between 0 and 0.28, made of those that training retained; none = the
    /// wider one (0.10).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub ema_width: Option<f64>,
    /// Columns and rows of the picture that shows the first images, such as `10x10`.
    #[default(Grid { columns: 10, rows: 10 })]
    #[schemars(extend("x-changes-no-sample" = true))]
    pub grid: Grid,
    /// What the images are written as besides the shards.
    #[serde(skip_serializing_if = "is_none")]
    #[schemars(!skip_serializing_if, extend("x-changes-no-sample" = true))]
    pub export: Export,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_none(export: &Export) -> bool {
    *export == Export::None
}

fn guidance_interval<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[f64; 2]>, D::Error> {
    let Some(ends) = Option::<Vec<f64>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match ends[..] {
        [low, high] if 0.0 <= low && low < high => Ok(Some([low, high])),
        _ => Err(serde::de::Error::custom(format!(
            "is {ends:?}; write two noise levels, the lower one first"
        ))),
    }
}

impl SampleSettings {
    /// Whether the way through the noise levels is EDM's own: any other is the general sampler's.
    pub fn is_edm_process(&self) -> bool {
        self.discretization == Discretization::Edm
            && self.schedule == NoiseSchedule::Linear
            && self.scaling == Scaling::None
    }

    /// How many images are sampled.
    pub fn images(&self) -> u64 {
        let seeds: u64 = self.seeds.iter().map(|range| range.count()).sum();
        match self.interpolate {
            Some(images) => (seeds - 1) * (u64::from(images) - 1) + 1,
            None => seeds,
        }
    }
}
