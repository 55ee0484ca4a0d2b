//! What a kind of stage has to say: what it reads, its checks, its job.

use std::path::Path;

use patchwork_artifacts::Environment;
use patchwork_config::schema::{Shape, shape};
use patchwork_config::{ConfigError, Section};
use patchwork_core::Digest;
use patchwork_terms::Kind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::environment;
use crate::error::SpecifyError;
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::job::{Nothing, TypedJob};
use crate::kinds::{StageSettings, kinds};
use crate::outside::Outside;
use crate::pipeline::Stage;

/// What the settings of a kind of stage can do besides being read: what they need, and what is checked.
pub(crate) trait Recipe {
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

/// How the settings of a kind of stage become its job: with what is resolved from them, and where what it reads lies.
pub(crate) trait Describe: Clone + Serialize {
    type Resolved: Serialize;
    type Places: Serialize + JsonSchema;

    /// The version of what a stage of this kind makes of these settings and its inputs; it is raised when those bytes
    /// change.
    fn format_version(&self) -> u32;

    /// Describes the stage of `outside`; `seed` is the root of all randomness.
    fn describe(&self, seed: u64, outside: &mut Outside<'_>) -> Describing<Self>;

    /// Variables of its worker's environment.
    fn environment(stage: &Stage) -> Environment {
        environment::of_device(stage)
    }
}

/// A description, or why there is none.
pub(crate) type Describing<S> = Result<Description<S>, SpecifyError>;

/// A stage as its kind describes it.
pub(crate) struct Description<S: Describe> {
    /// The settings that can change its output; what only says where something lies is left out.
    pub(crate) settings: S,
    pub(crate) resolved: S::Resolved,
    pub(crate) places: S::Places,
    /// The digest of the raw data that it reads.
    pub(crate) source: Option<Digest>,
}

impl<S: Describe<Resolved = Nothing>> Description<S> {
    /// A stage that reads no raw data and of whose settings nothing is resolved.
    pub(crate) fn of(settings: S, places: S::Places) -> Self {
        Self {
            settings,
            resolved: Nothing {},
            places,
            source: None,
        }
    }
}

/// A stage with its job as data.
pub(crate) struct Described {
    /// The part of its job that the fingerprint covers.
    pub(crate) covered: Value,
    /// The part that it does not cover.
    pub(crate) uncovered: Value,
    pub(crate) source: Option<Digest>,
    pub(crate) format_version: u32,
}

fn described<S: Describe>(
    settings: &S,
    seed: u64,
    outside: &mut Outside<'_>,
) -> Result<Described, SpecifyError> {
    let format_version = settings.format_version();
    let Description {
        settings,
        resolved,
        places,
        source,
    } = settings.describe(seed, outside)?;
    let stage = outside.stage;
    let environment = S::environment(stage);
    let (covered, uncovered) =
        TypedJob::new(stage, settings, resolved, places, environment).parts();
    Ok(Described {
        covered,
        uncovered,
        source,
        format_version,
    })
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

            /// The version of what this program makes of these settings.
            pub(crate) fn format_version(&self) -> u32 {
                match self { $(Self::$kind(settings) => settings.format_version(),)+ }
            }

            /// Describes the stage of `outside`, whose settings these are, to the supervisor.
            pub(crate) fn describe(
                &self,
                seed: u64,
                outside: &mut Outside<'_>,
            ) -> Result<Described, SpecifyError> {
                match self { $(Self::$kind(settings) => described(settings, seed, outside),)+ }
            }
        }

        /// Where jobs of `kind` say that what they read lies.
        pub(crate) fn places(kind: Kind) -> &'static Shape {
            match kind { $(Kind::$kind => shape::<<$settings as Describe>::Places>(),)+ }
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
