//! What a stage knows of the stages that it reads.

use patchwork_terms::Kind;

use crate::autoencoder::AutoencoderSettings;
use crate::encode::EncodeSettings;
use crate::kinds::StageSettings;
use crate::pipeline::Stage;
use crate::prepare::PrepareSettings;
use crate::reconstruct::ReconstructSettings;
use crate::reference::ReferenceSettings;
use crate::train::TrainSettings;

/// The stages that a stage reads, as far as they are known.
pub(crate) struct Inputs<'a> {
    reader: &'a Stage,
    stages: &'a [Stage],
}

impl<'a> Inputs<'a> {
    /// Those of a stage among `stages`.
    pub(crate) fn of(reader: &'a Stage, stages: &'a [Stage]) -> Self {
        Self { reader, stages }
    }

    /// The stage that reads them.
    pub(crate) fn reader(&self) -> &'a Stage {
        self.reader
    }

    /// Those of `kind`, in the order of `stages`.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Stage> + use<'a> {
        let needs = &self.reader.needs;
        (self.stages.iter())
            .filter(move |stage| stage.kind() == kind && needs.contains(&stage.name))
    }

    /// What one of these reads in turn.
    pub(crate) fn of_input(&self, input: &'a Stage) -> Self {
        Self::of(input, self.stages)
    }

    /// The training whose network is sampled, with its settings.
    pub(crate) fn training(&self) -> Option<(&'a Stage, &'a TrainSettings)> {
        self.of_kind(Kind::Train)
            .find_map(|stage| match &stage.settings {
                StageSettings::Train(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The stage that encodes, with its settings.
    pub(crate) fn encoding(&self) -> Option<(&'a Stage, &'a EncodeSettings)> {
        self.of_kind(Kind::Encode)
            .find_map(|stage| match &stage.settings {
                StageSettings::Encode(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The settings of the autoencoder that is read.
    pub(crate) fn autoencoder(&self) -> Option<&'a AutoencoderSettings> {
        self.of_kind(Kind::Autoencoder)
            .find_map(|stage| match &stage.settings {
                StageSettings::Autoencoder(settings) => Some(settings),
                _ => None,
            })
    }

    /// The reference that samples are compared with, with its settings.
    pub(crate) fn reference(&self) -> Option<(&'a Stage, &'a ReferenceSettings)> {
        self.of_kind(Kind::Reference)
            .find_map(|stage| match &stage.settings {
                StageSettings::Reference(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The stage that reconstructs, with its settings.
    pub(crate) fn reconstruction(&self) -> Option<(&'a Stage, &'a ReconstructSettings)> {
        self.of_kind(Kind::Reconstruct)
            .find_map(|stage| match &stage.settings {
                StageSettings::Reconstruct(settings) => Some((stage, settings)),
                _ => None,
            })
    }

    /// The settings of the data set that is read.
    pub(crate) fn data_set(&self) -> Option<&'a PrepareSettings> {
        self.of_kind(Kind::Prepare)
            .find_map(|stage| match &stage.settings {
                StageSettings::Prepare(settings) => Some(settings),
                _ => None,
            })
    }
}
