//! What a kind of stage has to say: what it reads, its checks, its job.

use std::path::Path;

use patchwork_config::schema::Shape;
use patchwork_config::{ConfigError, Section};
use patchwork_core::Digest;
use patchwork_terms::Kind;
use serde_json::Value;

use crate::error::SpecifyError;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::kinds::{StageSettings, kinds};
use crate::outside::Outside;
use crate::pipeline::Stage;

/// What the settings of a kind of stage can do besides being read: what they need, and what is checked.
pub(crate) trait Recipe: Describe {
    /// Which stages a stage of these settings reads.
    fn reads(&self) -> &'static [Needed];

    /// Fills in the defaults that depend on other settings, brings lists in which order means nothing into one order, and
    /// checks what must hold between the settings.
    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError>;

    /// Fits defaults to the stages that this one reads.
    fn fit(&mut self, _: &Section<'_>, _: &Inputs<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Checks what must hold between this stage and those that it reads.
    fn check(&self, _: &Section<'_>, _: &Inputs<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Makes relative paths mean a folder.
    fn put_below(&mut self, _: &Path) {}

    /// Checks the stage against the files that those it reads name, and notes what of theirs it reads too.
    fn look_behind(
        &self,
        _: &Stage,
        _: &Inputs<'_>,
        _: &mut Outside<'_>,
    ) -> Result<(), SpecifyError> {
        Ok(())
    }
}

/// How the settings of a kind of stage become its job.
pub(crate) trait Describe {
    /// Where the job says that what it reads lies.
    fn places() -> &'static Shape
    where
        Self: Sized;

    /// Describes the stage to the supervisor; `seed` is the root of all randomness.
    fn describe(
        &self,
        stage: &Stage,
        seed: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError>;
}

/// A stage as its kind describes it.
pub(crate) struct Described {
    /// The part of its job that the fingerprint covers.
    pub(crate) covered: Value,
    /// The part that it does not cover.
    pub(crate) uncovered: Value,
    /// The digest of the raw data that it reads.
    pub(crate) source: Option<Digest>,
    /// The version of what a stage of this kind makes of the same settings and inputs; it is raised when those bytes
    /// change.
    pub(crate) format_version: u32,
}

impl Described {
    /// A stage that reads no raw data, by the parts of its job.
    pub(crate) fn new((covered, uncovered): (Value, Value), format_version: u32) -> Self {
        Self {
            covered,
            uncovered,
            source: None,
            format_version,
        }
    }
}

macro_rules! recipes {
    ($($(#[$doc:meta])* $kind:ident($settings:ty),)+) => {
        impl StageSettings {
            /// Reads the settings of a stage of `kind` from its table.
            pub(crate) fn read(kind: Kind, section: &Section<'_>) -> Result<Self, ConfigError> {
                let mut settings = match kind { $(Kind::$kind => Self::$kind(section.read()?),)+ };
                settings.recipe_mut().settle(section)?;
                Ok(settings)
            }

            pub(crate) fn recipe(&self) -> &dyn Recipe {
                match self { $(Self::$kind(settings) => settings,)+ }
            }

            pub(crate) fn recipe_mut(&mut self) -> &mut dyn Recipe {
                match self { $(Self::$kind(settings) => settings,)+ }
            }
        }

        /// Where jobs of `kind` say that what they read lies.
        pub(crate) fn places(kind: Kind) -> &'static Shape {
            match kind { $(Kind::$kind => <$settings>::places(),)+ }
        }
    };
}

kinds!(recipes);

impl StageSettings {
    /// Makes relative paths of raw data, statistics and networks mean a folder.
    pub fn put_below(&mut self, folder: &Path) {
        self.recipe_mut().put_below(folder);
    }
}
