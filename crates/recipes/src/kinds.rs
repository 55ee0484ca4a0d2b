//! The kinds of stages: one folder a kind, and here the list of them.

use std::path::Path;

use patchwork_config::schema::{self, Shape};
use patchwork_config::{ConfigError, Section};
use patchwork_core::Digest;
use patchwork_terms::Kind;
use serde::Serialize;
use serde_json::Value;

use crate::autoencoder::AutoencoderSettings;
use crate::encode::{self, EncodeSettings};
use crate::evaluate::{self, EvaluateSettings};
use crate::graph::{Inputs, Needed};
use crate::job::Nothing;
use crate::outside::Outside;
use crate::pipeline::Stage;
use crate::prepare::{self, PrepareSettings};
use crate::reconstruct::{self, ReconstructSettings};
use crate::reference::{self, ReferenceSettings};
use crate::sample::{self, SampleSettings};
use crate::specify::SpecifyError;
use crate::train::{self, TrainSettings};

/// What the settings of a kind of stage can do besides being read: its checks and its job.
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

    /// Describes the stage to the supervisor; `seed` is the root of all randomness.
    fn describe(
        &self,
        stage: &Stage,
        seed: u64,
        outside: &mut Outside<'_>,
    ) -> Result<Described, SpecifyError>;

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

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($settings:ty, places $places:ty),)+) => {
        /// The resolved settings of one stage: everything that it was told and that can change its output.
        ///
        /// Serialises to the settings' JSON object alone, without the kind; see [`StageSettings::from_json`] for the way
        /// back.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum StageSettings {
            $($(#[$doc])* $kind($settings),)+
        }

        impl StageSettings {
            /// The kind of stage that these settings are for.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// Settings from the JSON object that they were serialised to.
            pub fn from_json(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(serde_json::from_value(value)?),)+ })
            }

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

        /// The settings that a kind of stage has in pipeline files.
        pub fn shape(kind: Kind) -> &'static Shape {
            match kind { $(Kind::$kind => schema::shape::<$settings>(),)+ }
        }

        /// Where jobs of `kind` say that what they read lies.
        pub(crate) fn places(kind: Kind) -> &'static Shape {
            match kind { $(Kind::$kind => schema::shape::<$places>(),)+ }
        }
    };
}

kinds! {
    /// Settings of a stage that prepares a data set.
    Prepare(PrepareSettings, places prepare::Places),
    /// Settings of a stage that trains an autoencoder.
    Autoencoder(AutoencoderSettings, places Nothing),
    /// Settings of a stage that encodes.
    Encode(EncodeSettings, places encode::Places),
    /// Settings of a stage that measures a data set.
    Reference(ReferenceSettings, places reference::Places),
    /// Settings of a stage that trains.
    Train(TrainSettings, places train::Places),
    /// Settings of a stage that samples.
    Sample(SampleSettings, places sample::Places),
    /// Settings of a stage that reconstructs.
    Reconstruct(ReconstructSettings, places reconstruct::Places),
    /// Settings of a stage that evaluates.
    Evaluate(EvaluateSettings, places evaluate::Places),
}

impl StageSettings {
    /// Makes relative paths of raw data, statistics and networks mean a folder.
    pub fn put_below(&mut self, folder: &Path) {
        self.recipe_mut().put_below(folder);
    }
}
