//! A network to images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;
use crate::settings::train::Precision;
use crate::tree::Data;
use crate::value::{FromData, choice};

pub(crate) const KEYS: &[&str] = &[
    "seeds",
    "steps",
    "solver",
    "sigma_min",
    "sigma_max",
    "rho",
    "s_churn",
    "s_min",
    "s_max",
    "s_noise",
    "guidance",
    "labels",
    "batch_size",
    "images_per_shard",
    "precision",
    "at_images",
    "grid",
];

/// Settings of a stage that samples. Defaults are those of EDM, Table 1, deterministic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSettings {
    /// One image a seed, in this order; no seed occurs twice.
    pub seeds: Vec<SeedRange>,
    /// Noise levels; Heun evaluates the network `2 * steps - 1` times.
    pub steps: u32,
    /// The way from one noise level to the next.
    pub solver: Solver,
    /// Lowest noise level above 0.
    pub sigma_min: f64,
    /// Highest noise level.
    pub sigma_max: f64,
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
    /// Which classes are drawn.
    pub labels: SampleLabels,
    /// Images at once.
    pub batch_size: u32,
    /// Images in one shard file.
    pub images_per_shard: u32,
    /// The number type that the network computes in.
    pub precision: Precision,
    /// The snapshot of training that is sampled, by its images seen; none = the final network.
    pub at_images: Option<u64>,
    /// Shape of the picture that shows the first images.
    pub grid: Grid,
}

/// Seeds from `first` to `last`, both included. Written `first-last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeedRange {
    /// The first seed.
    pub first: u64,
    /// The last seed, at least `first`.
    pub last: u64,
}

/// Columns and rows of a picture made of many. Written `COLUMNSxROWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grid {
    /// At least 1.
    pub columns: u32,
    /// At least 1.
    pub rows: u32,
}

choice! {
    /// The way from one noise level to the next.
    pub enum Solver {
        /// Second order (EDM, algorithm 2).
        Heun = "heun",
        /// First order.
        Euler = "euler",
        /// Second order, multistep, one evaluation a step.
        DpmSolver2m = "dpm-solver-2m",
    }
}

choice! {
    /// Which classes are drawn.
    pub enum SampleLabels {
        /// No class.
        None = "none",
        /// Classes as often as the data set has them.
        Dataset = "dataset",
        /// Each class as often as any other.
        Balanced = "balanced",
    }
}

impl SampleSettings {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let settings = Self {
            seeds: seeds(section)?,
            steps: section.integer("steps", Some(18), 2..=10_000)?,
            solver: section.or("solver", Solver::Heun)?,
            sigma_min: section.positive("sigma_min", 0.002)?,
            sigma_max: section.positive("sigma_max", 80.0)?,
            rho: section.positive("rho", 7.0)?,
            s_churn: section.number("s_churn", Some(0.0), 0.0..=1e6)?,
            s_min: section.number("s_min", Some(0.0), 0.0..=1e6)?,
            s_max: section.optional_positive("s_max")?,
            s_noise: section.number("s_noise", Some(1.0), 0.0..=10.0)?,
            guidance: section.optional_positive("guidance")?,
            labels: section.or("labels", SampleLabels::None)?,
            batch_size: section.integer("batch_size", Some(64), 1..=65_536)?,
            images_per_shard: section.integer("images_per_shard", Some(1000), 1..=1_000_000)?,
            precision: section.or("precision", Precision::Auto)?,
            at_images: section.optional("at_images")?,
            grid: section.or(
                "grid",
                Grid {
                    columns: 10,
                    rows: 10,
                },
            )?,
        };
        if settings.sigma_min >= settings.sigma_max {
            let problem = format!(
                "is {}, which is not below `sigma_max` = {}",
                settings.sigma_min, settings.sigma_max
            );
            return Err(section.invalid("sigma_min", problem));
        }
        if let Some(s_max) = settings.s_max.filter(|s_max| *s_max < settings.s_min) {
            let problem = format!("is {}, which is above `s_max` = {s_max}", settings.s_min);
            return Err(section.invalid("s_min", problem));
        }
        Ok(settings)
    }
}

/// More images than any machine samples: a wrong digit, rather than a wish.
const MOST_SEEDS: u64 = 100_000_000;

/// Reads `"0-9,100"` or one number; neighbours are joined, so that the same seeds in the same
/// order are the same settings however they were typed.
fn seeds(section: &Section<'_>) -> Result<Vec<SeedRange>, ConfigError> {
    let text: SeedText = section.or("seeds", SeedText("0-999".to_owned()))?;
    let mut ranges: Vec<SeedRange> = Vec::new();
    let mut count = 0_u64;
    for part in text.0.split(',') {
        let range: SeedRange = part
            .parse()
            .map_err(|cause: String| section.invalid("seeds", cause))?;
        if let Some(twice) = ranges.iter().find(|other| other.overlaps(range)) {
            let problem = format!("names a seed twice: `{range}` and `{twice}` overlap");
            return Err(section.invalid("seeds", problem));
        }
        count = count.saturating_add(range.count());
        match ranges.last_mut() {
            Some(previous) if previous.last.checked_add(1) == Some(range.first) => {
                previous.last = range.last;
            }
            _ => ranges.push(range),
        }
    }
    if count > MOST_SEEDS {
        let problem = format!("names {count} seeds; at most {MOST_SEEDS} are possible");
        return Err(section.invalid("seeds", problem));
    }
    Ok(ranges)
}

/// Seeds as typed: one seed alone may be a number.
struct SeedText(String);

impl FromData for SeedText {
    fn expected() -> String {
        "a list of seeds such as \"0-9,100\"".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::Text(text) => Some(Self(text.clone())),
            Data::Integer(number) => Some(Self(number.to_string())),
            _ => None,
        }
    }
}

impl SeedRange {
    /// How many seeds.
    pub fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for SeedRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "has `{}`; a seed is a number or a range such as `0-9`",
                text.trim()
            )),
        }
    }
}

impl TryFrom<String> for SeedRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SeedRange> for String {
    fn from(range: SeedRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.columns, self.rows)
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text
            .split_once('x')
            .map(|(columns, rows)| (columns.parse(), rows.parse()));
        match sides {
            Some((Ok(columns), Ok(rows)))
                if (1..=100).contains(&columns) && (1..=100).contains(&rows) =>
            {
                Ok(Self { columns, rows })
            }
            _ => Err(format!(
                "`{text}` is no grid such as `10x10` (columns x rows, each 1 to 100)"
            )),
        }
    }
}

impl TryFrom<String> for Grid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Grid> for String {
    fn from(grid: Grid) -> Self {
        grid.to_string()
    }
}

impl FromData for Grid {
    fn expected() -> String {
        "columns and rows such as \"10x10\", each 1 to 100".to_owned()
    }

    fn from_data(data: &Data) -> Option<Self> {
        match data {
            Data::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}
