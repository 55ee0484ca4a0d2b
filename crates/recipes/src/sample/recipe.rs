//! What a stage that samples reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Discretization, Kind, SampleLabels, Solver};

use super::{Region, SampleSettings, checks};
use crate::autoencoder_files;
use crate::error::SpecifyError;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::recipe::Recipe;
use crate::shards;
use crate::train::TrainingData;

/// Seeds that nobody goes through one after another.
const MANY_SEEDS: u64 = 10_000;

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
        let Some(data) = TrainingData::of_samples(inputs).and_then(|data| data.images) else {
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

impl SampleSettings {
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
