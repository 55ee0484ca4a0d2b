//! A network to images.

use patchwork_terms::{
    Discretization, Export, NoiseSchedule, Precision, SampleLabels, Scaling, Solver,
};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::settings::grid::Grid;
use crate::settings::seeds::{SeedRange, seeds};
use crate::settings::shards;

pub(crate) const KEYS: &[&str] = &[
    "seeds",
    "steps",
    "solver",
    "discretization",
    "schedule",
    "scaling",
    "sigma_min",
    "sigma_max",
    "rho",
    "s_churn",
    "s_min",
    "s_max",
    "s_noise",
    "guidance",
    "guidance_interval",
    "labels",
    "region",
    "batch_size",
    shards::KEY,
    "precision",
    "at_images",
    "best_snapshot",
    "ema_width",
    "grid",
    "export",
];
const REGION_KEYS: &[&str] = &["row", "column", "side"];

/// Settings of a stage that samples. Defaults are those of EDM, Table 1, deterministic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSettings {
    /// One image a seed, in this order; no seed occurs twice.
    pub seeds: Vec<SeedRange>,
    /// Noise levels; Heun evaluates the network `2 * steps - 1` times.
    pub steps: u32,
    /// The way from one noise level to the next.
    pub solver: Solver,
    /// Which noise levels are visited.
    pub discretization: Discretization,
    /// How the noise level depends on time.
    pub schedule: NoiseSchedule,
    /// How the state is scaled on its way.
    pub scaling: Scaling,
    /// Lowest noise level above 0; none = the discretization's own. A network's own range limits it.
    pub sigma_min: Option<f64>,
    /// Highest noise level; none = the discretization's own. A network's own range limits it.
    pub sigma_max: Option<f64>,
    /// How strongly levels crowd at the low end (EDM, equation 5).
    pub rho: f64,
    /// Amount of fresh noise; 0 = deterministic (EDM, algorithm 2).
    pub s_churn: f64,
    /// Lowest noise level that gets fresh noise.
    pub s_min: f64,
    /// Highest noise level that gets fresh noise; none = infinity.
    pub s_max: Option<f64>,
    /// Standard deviation of the fresh noise.
    pub s_noise: f64,
    /// Strength of classifier-free guidance; none = the conditional network alone.
    pub guidance: Option<f64>,
    /// Noise levels above the first and up to the second at which guidance applies; none = all.
    pub guidance_interval: Option<[f64; 2]>,
    /// Which classes are drawn.
    pub labels: SampleLabels,
    /// The part of the canvas that is drawn; none = all of it.
    pub region: Option<Region>,
    /// Images at once; fewer where memory does not suffice, which changes no image.
    pub batch_size: u32,
    /// At most so many images in one shard file; the default is less for large images.
    pub images_per_shard: u32,
    /// The number type that the network computes in.
    pub precision: Precision,
    /// The snapshot of training that is sampled, by its images seen; none = the final network.
    pub at_images: Option<u64>,
    /// Whether the best network that training measured is sampled, rather than the final one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best_snapshot: bool,
    /// Relative width of the average that is sampled, made of those that training kept; none = the wider one (0.10).
    pub ema_width: Option<f64>,
    /// Shape of the picture that shows the first images.
    pub grid: Grid,
    /// As what the images are written besides the shards.
    #[serde(default, skip_serializing_if = "is_none")]
    pub export: Export,
}

/// A square part of the canvas, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its first row.
    pub row: u32,
    /// Its first column.
    pub column: u32,
    /// Its side.
    pub side: u32,
}

impl Region {
    /// Why a network of so many levels, trained with or without coordinates on images of a width and a height, does not
    /// draw it, as the rest of a sentence.
    pub fn problem(
        self,
        has_coordinates: bool,
        (width, height): (u32, u32),
        levels: usize,
    ) -> Option<String> {
        let Self { row, column, side } = self;
        let divisor: u32 = 1 << (levels - 1);
        if !has_coordinates {
            Some("needs a network that was trained with `position_channels`".to_owned())
        } else if row + side > height || column + side > width {
            let images = if width == height {
                format!("`resolution` = {width}")
            } else {
                format!("{width} x {height} pixels")
            };
            Some(format!(
                "of side {side} at row {row} and column {column} does not lie in images of {images}"
            ))
        } else if !side.is_multiple_of(divisor) {
            Some(format!(
                "has side {side}, but a network of {levels} levels needs sides divisible by {divisor}"
            ))
        } else {
            None
        }
    }
}

impl SampleSettings {
    /// Whether the way through the noise levels is EDM's own: any other is the general sampler's.
    pub fn is_edm_process(&self) -> bool {
        self.discretization == Discretization::Edm
            && self.schedule == NoiseSchedule::Linear
            && self.scaling == Scaling::None
    }

    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let discretization = section.or("discretization", Discretization::Edm)?;
        let (low, high) = match discretization {
            Discretization::Edm => (Some(0.002), Some(80.0)),
            Discretization::Vp | Discretization::Ve | Discretization::Iddpm => (None, None),
        };
        let settings = Self {
            seeds: seeds(section)?,
            steps: section.integer("steps", Some(18), 2..=10_000)?,
            solver: section.or("solver", Solver::Heun)?,
            discretization,
            schedule: section.or("schedule", NoiseSchedule::Linear)?,
            scaling: section.or("scaling", Scaling::None)?,
            sigma_min: section.optional_positive("sigma_min")?.or(low),
            sigma_max: section.optional_positive("sigma_max")?.or(high),
            rho: section.positive("rho", 7.0)?,
            s_churn: section.number("s_churn", Some(0.0), 0.0..=1e6)?,
            s_min: section.number("s_min", Some(0.0), 0.0..=1e6)?,
            s_max: section.optional_positive("s_max")?,
            s_noise: section.number("s_noise", Some(1.0), 0.0..=10.0)?,
            guidance: section.optional_positive("guidance")?,
            guidance_interval: guidance_interval(section)?,
            labels: section.or("labels", SampleLabels::None)?,
            region: region(section)?,
            batch_size: section.integer("batch_size", Some(64), 1..=65_536)?,
            images_per_shard: section.integer(shards::KEY, Some(1000), 1..=1_000_000)?,
            precision: section.or("precision", Precision::Auto)?,
            at_images: section.optional("at_images")?,
            best_snapshot: section.or("best_snapshot", false)?,
            ema_width: ema_width(section)?,
            grid: section.or(
                "grid",
                Grid {
                    columns: 10,
                    rows: 10,
                },
            )?,
            export: section.or("export", Export::None)?,
        };
        settings.check_levels(section)?;
        settings.check_solver(section)?;
        settings.check_network(section)?;
        Ok(settings)
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
                self.discretization.name()
            );
            return Err(section.invalid("rho", problem));
        }
        if self.solver != Solver::DpmSolver2m {
            return Ok(());
        }
        let solver = self.solver.name();
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
}

fn guidance_interval(section: &Section<'_>) -> Result<Option<[f64; 2]>, ConfigError> {
    const KEY: &str = "guidance_interval";
    let Some(ends) = section.optional::<Vec<f64>>(KEY)? else {
        return Ok(None);
    };
    match ends[..] {
        [low, high] if 0.0 <= low && low < high => Ok(Some([low, high])),
        _ => {
            let problem = format!("is {ends:?}; write two noise levels, the lower one first");
            Err(section.invalid(KEY, problem))
        }
    }
}

fn region(section: &Section<'_>) -> Result<Option<Region>, ConfigError> {
    const PLACES: std::ops::RangeInclusive<u32> = 0..=65_535;
    let Some(section) = section.table("region", REGION_KEYS)? else {
        return Ok(None);
    };
    Ok(Some(Region {
        row: section.integer("row", Some(0), PLACES)?,
        column: section.integer("column", Some(0), PLACES)?,
        side: section.integer("side", None, 1..=65_535)?,
    }))
}

/// The widths that a power-function average can have.
fn ema_width(section: &Section<'_>) -> Result<Option<f64>, ConfigError> {
    const KEY: &str = "ema_width";
    match section.optional_positive(KEY)? {
        Some(width) if width >= 0.28 => {
            let problem =
                format!("is {width}; a relative width lies between 0 and 0.28, such as 0.10");
            Err(section.invalid(KEY, problem))
        }
        width => Ok(width),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_none(export: &Export) -> bool {
    *export == Export::None
}
