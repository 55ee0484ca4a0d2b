//! The kinds of stages: one folder a kind, and here the list of them.

use std::path::Path;

use patchwork_config::schema::{self, Shape};
use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;
use serde::Serialize;
use serde_json::Value;

use crate::autoencoder::AutoencoderSettings;
use crate::encode::{self, EncodeSettings};
use crate::evaluate::{self, EvaluateSettings};
use crate::job::Nothing;
use crate::prepare::{self, PrepareSettings};
use crate::recipe::Recipe;
use crate::reconstruct::{self, ReconstructSettings};
use crate::reference::{self, ReferenceSettings};
use crate::sample::{self, SampleSettings};
use crate::train::{self, TrainSettings};

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
