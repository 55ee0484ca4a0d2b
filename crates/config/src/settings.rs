//! What each kind of stage can be told, one module a kind.

pub(crate) mod evaluate;
pub(crate) mod grid;
pub(crate) mod network;
pub(crate) mod prepare;
pub(crate) mod reference;
pub(crate) mod sample;
pub(crate) mod seeds;
pub(crate) mod shards;
pub(crate) mod snapshot_evaluation;
pub(crate) mod train;

use patchwork_terms::Kind;
use serde::Serialize;

use crate::error::ConfigError;
use crate::section::Section;
use evaluate::EvaluateSettings;
use prepare::PrepareSettings;
use reference::ReferenceSettings;
use sample::SampleSettings;
use train::TrainSettings;

/// The keys of a kind's own settings.
pub(crate) fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Prepare => prepare::KEYS,
        Kind::Reference => reference::KEYS,
        Kind::Train => train::KEYS,
        Kind::Sample => sample::KEYS,
        Kind::Evaluate => evaluate::KEYS,
    }
}

/// The resolved settings of one stage: everything that it was told and that can change its output.
///
/// Serialises to the settings' JSON object alone, without the kind; see
/// [`StageSettings::from_json`] for the way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StageSettings {
    /// Settings of a stage that prepares a data set.
    Prepare(PrepareSettings),
    /// Settings of a stage that measures a data set.
    Reference(ReferenceSettings),
    /// Settings of a stage that trains.
    Train(TrainSettings),
    /// Settings of a stage that samples.
    Sample(SampleSettings),
    /// Settings of a stage that evaluates.
    Evaluate(EvaluateSettings),
}

impl StageSettings {
    /// The kind of stage that these settings are for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Prepare(_) => Kind::Prepare,
            Self::Reference(_) => Kind::Reference,
            Self::Train(_) => Kind::Train,
            Self::Sample(_) => Kind::Sample,
            Self::Evaluate(_) => Kind::Evaluate,
        }
    }

    /// Settings from the JSON object that they were serialised to.
    pub fn from_json(kind: Kind, value: serde_json::Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Prepare => Self::Prepare(serde_json::from_value(value)?),
            Kind::Reference => Self::Reference(serde_json::from_value(value)?),
            Kind::Train => Self::Train(serde_json::from_value(value)?),
            Kind::Sample => Self::Sample(serde_json::from_value(value)?),
            Kind::Evaluate => Self::Evaluate(serde_json::from_value(value)?),
        })
    }

    /// Reads the settings of a stage of `kind` from its table.
    pub(crate) fn read(kind: Kind, section: &Section<'_>) -> Result<Self, ConfigError> {
        Ok(match kind {
            Kind::Prepare => Self::Prepare(PrepareSettings::read(section)?),
            Kind::Reference => Self::Reference(ReferenceSettings::read(section)?),
            Kind::Train => Self::Train(TrainSettings::read(section)?),
            Kind::Sample => Self::Sample(SampleSettings::read(section)?),
            Kind::Evaluate => Self::Evaluate(EvaluateSettings::read(section)?),
        })
    }
}
