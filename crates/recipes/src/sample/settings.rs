//! The settings of a `sample` stage.

use std::path::Path;

use patchwork_config::schema::shape;
use patchwork_config::{ConfigError, Section};
use patchwork_terms::{
    Discretization, Export, Kind, NoiseSchedule, Precision, SampleLabels, Scaling, Solver,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use smart_default::SmartDefault;

use super::grid::Grid;
use super::region::Region;
use super::seeds::{self, SeedRange};
use super::{checks, classes};
use crate::autoencoder_files;
use crate::graph::{Inputs, Needed};
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::Recipe;
use crate::shards;
use crate::specify::SpecifyError;

/// The keyword by which the schema of a key says that the setting changes no image, or only which moment of training is
/// sampled, which the images seen tell.
const CHANGES_NO_SAMPLE: &str = "x-changes-no-sample";

/// Seeds that nobody goes through one after another.
const MANY_SEEDS: u64 = 10_000;

/// Whether sets of samples that differ in the setting of that name differ in how they were made.
pub fn tells_samples_apart(key: &str) -> bool {
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

    /// Classes are chosen in one way.
    fn check_classes(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.classes.is_empty() || self.labels == SampleLabels::None {
            return Ok(());
        }
        let problem = format!(
            "names classes, and `labels` = \"{}\" chooses others; leave out one of them",
            self.labels
        );
        Err(section.invalid("classes", problem))
    }

    /// What lies between two seeds has no noise of its own.
    fn check_interpolation(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.interpolate.is_none() {
            return Ok(());
        }
        let seeds: u64 = self.seeds.iter().map(|range| range.count()).sum();
        let problem = match (seeds, self.s_churn > 0.0) {
            (0 | 1, _) => {
                "goes from one seed to the next; name two or more, such as `seeds` = \"3,7\""
            }
            (_, true) => {
                "needs deterministic steps, and `s_churn` adds noise; leave out one of them"
            }
            (MANY_SEEDS.., _) => {
                "goes from one seed to the next, and these are too many; name fewer seeds"
            }
            _ => return Ok(()),
        };
        Err(section.invalid("interpolate", problem))
    }

    fn check_levels(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if let (Some(sigma_min), Some(sigma_max)) = (self.sigma_min, self.sigma_max)
            && sigma_min >= sigma_max
        {
            let problem = format!("is {sigma_min}, which is not below `sigma_max` = {sigma_max}");
            return Err(section.invalid("sigma_min", problem));
        }
        if let Some(s_max) = self.s_max.filter(|s_max| *s_max < self.s_min) {
            let problem = format!("is {}, which is above `s_max` = {s_max}", self.s_min);
            return Err(section.invalid("s_min", problem));
        }
        if self.guidance_interval.is_some() && self.guidance.is_none() {
            let problem = "limits `guidance`, which is not set";
            return Err(section.invalid("guidance_interval", problem));
        }
        Ok(())
    }

    /// One network is sampled.
    fn check_network(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if !self.best_snapshot {
            return Ok(());
        }
        let other = [
            ("at_images", self.at_images.is_some()),
            ("ema_width", self.ema_width.is_some()),
        ];
        match other.into_iter().find(|(_, typed)| *typed) {
            Some((key, _)) => {
                let problem =
                    format!("is true, but `{key}` names another network; leave out one of them");
                Err(section.invalid("best_snapshot", problem))
            }
            None => Ok(()),
        }
    }

    /// What one solver or way through the noise levels has no use for is refused, not passed over.
    fn check_solver(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.discretization != Discretization::Edm && section.has("rho") {
            let problem = format!(
                "belongs to `discretization` = \"edm\"; \"{}\" has levels of its own",
                self.discretization
            );
            return Err(section.invalid("rho", problem));
        }
        if self.solver != Solver::DpmSolver2m {
            return Ok(());
        }
        let solver = self.solver;
        if self.s_churn > 0.0 {
            let problem = format!("adds noise, but `solver` = \"{solver}\" is deterministic");
            return Err(section.invalid("s_churn", problem));
        }
        for (key, word, own) in [
            ("discretization", self.discretization.name(), "edm"),
            ("schedule", self.schedule.name(), "linear"),
            ("scaling", self.scaling.name(), "none"),
        ] {
            if word != own {
                let problem = format!(
                    "is \"{word}\", but `solver` = \"{solver}\" knows only \"{own}\"; \"heun\" and \
                     \"euler\" know all"
                );
                return Err(section.invalid(key, problem));
            }
        }
        Ok(())
    }

    /// The widths that a power-function average can have.
    fn check_width(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        match self.ema_width {
            Some(width) if width >= 0.28 => {
                let problem =
                    format!("is {width}; a relative width lies between 0 and 0.28, such as 0.10");
                Err(section.invalid("ema_width", problem))
            }
            _ => Ok(()),
        }
    }
}

impl Recipe for SampleSettings {
    fn reads(&self) -> &'static [Needed] {
        const {
            &[
                Needed::one(&[Kind::Train]),
                Needed::implied(&[Kind::Encode]),
            ]
        }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.discretization == Discretization::Edm {
            self.sigma_min.get_or_insert(0.002);
            self.sigma_max.get_or_insert(80.0);
        }
        self.check_width(section)?;
        self.check_levels(section)?;
        self.check_solver(section)?;
        self.check_classes(section)?;
        self.check_interpolation(section)?;
        self.check_network(section)
    }

    /// Samples come to a shard as their size allows.
    fn fit(&mut self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        let Some(data) = inputs.data_of_samples().and_then(|data| data.images) else {
            return Ok(());
        };
        let region = self.region.map(Region::size);
        let size = region.unwrap_or(data.image_size());
        self.images_per_shard =
            shards::fitting(section, self.images_per_shard, size, data.channels.count())?;
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        checks::fits(self, section, inputs)
    }

    fn put_below(&mut self, folder: &Path) {
        if let Some(named) = &mut self.autoencoder {
            *named = autoencoder_files::below(folder, named);
        }
    }

    fn look_behind(
        &self,
        stage: &Stage,
        inputs: &Inputs<'_>,
        _: &mut Outside<'_>,
    ) -> Result<(), SpecifyError> {
        checks::look_behind(self, stage, inputs)
    }
}
