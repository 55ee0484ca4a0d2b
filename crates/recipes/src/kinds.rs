//! The kinds of stages: one folder a kind, and here the list of them.

use patchwork_config::schema::{self, Shape};
use patchwork_terms::Kind;
use serde::Serialize;
use serde_json::Value;

/// Hands the kinds to a macro, each with the type of its settings.
macro_rules! kinds {
    ($to:ident) => {
        $to! {
            /// Settings of a stage that prepares a data set.
            Prepare(crate::prepare::PrepareSettings),
            /// Settings of a stage that trains an autoencoder.
            Autoencoder(crate::autoencoder::AutoencoderSettings),
            /// Settings of a stage that encodes.
            Encode(crate::encode::EncodeSettings),
            /// Settings of a stage that measures a data set.
            Reference(crate::reference::ReferenceSettings),
            /// Settings of a stage that trains.
            Train(crate::train::TrainSettings),
            /// Settings of a stage that samples.
            Sample(crate::sample::SampleSettings),
            /// Settings of a stage that reconstructs.
            Reconstruct(crate::reconstruct::ReconstructSettings),
            /// Settings of a stage that evaluates.
            Evaluate(crate::evaluate::EvaluateSettings),
        }
    };
}
pub(crate) use kinds;

macro_rules! stage_settings {
    ($($(#[$doc:meta])* $kind:ident($settings:ty),)+) => {
        /// The resolved settings of one stage: all that can change its output.
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
        }

        /// The settings that a kind of stage has in pipeline files.
        pub fn shape(kind: Kind) -> &'static Shape {
            match kind { $(Kind::$kind => schema::shape::<$settings>(),)+ }
        }
    };
}

kinds!(stage_settings);
