//! What a stage reads from outside of the pipeline: raw data, weights, files of other programs.
//!
//! What is missing is not an error yet: a stage whose artifact is present does without, if the digest of what it was made
//! from is remembered.

use std::path::{Path, PathBuf};

use patchwork_artifacts::spec::MissingInput;
use patchwork_core::{Digest, FileError};
use patchwork_dataset::latents::import_digest;
use patchwork_dataset::{DatasetError, SourceCache};
use patchwork_weights::{ExtractorSpec, Network, WeightsError};
use serde_json::{Value, json};

use crate::autoencoder_files;
use crate::error::SpecifyError;
use crate::pipeline::Stage;
use crate::prepare::{PrepareSettings, source};
use crate::reference::ReferenceSettings;
use crate::reference::extractor::extractors;
use crate::remembered::{recall, remember};
use crate::train::start::check_format;

const SOURCE: &str = "source";
const WEIGHTS: &str = "weights";
const AUTOENCODER: &str = "autoencoder";
const LATENTS: &str = "latents";
const NETWORK: &str = "network";
const CHECKPOINT: &str = "checkpoint";

/// Where describing a pipeline looks and remembers.
#[derive(Clone, Debug)]
pub struct SpecifyOptions<'a> {
    /// The folder in which digests of sources are remembered.
    pub cache: &'a Path,
    /// The folder with the extractors' weights.
    pub weights: &'a Path,
    /// Whether sources are read again although they look unchanged.
    pub rehash: bool,
}

/// What one stage reads.
pub(crate) struct Outside<'a> {
    pub(crate) stage: &'a Stage,
    options: &'a SpecifyOptions<'a>,
    /// What of it is missing.
    pub(crate) missing: Vec<MissingInput>,
}

/// Files of an autoencoder that a setting names.
#[derive(Default)]
pub(crate) struct AutoencoderFiles {
    /// Their digest, which a job has in the place of the name; none where they are missing and unknown.
    pub(crate) digest: Option<String>,
    /// Where they lie.
    pub(crate) place: Option<PathBuf>,
}

impl<'a> Outside<'a> {
    pub(crate) fn of(stage: &'a Stage, options: &'a SpecifyOptions<'a>) -> Self {
        Self {
            stage,
            options,
            missing: Vec::new(),
        }
    }

    /// The digest of a source's content.
    pub(crate) fn source(
        &mut self,
        settings: &PrepareSettings,
    ) -> Result<Option<Digest>, SpecifyError> {
        let read_as = source::read_as(settings);
        if let Some(problem) = source::missing(settings) {
            return Ok(self.recalled(SOURCE, &settings.source, &read_as, problem));
        }
        let (cache, rehash) = (self.options.cache, self.options.rehash);
        let digest =
            source::source_digest(settings, cache, rehash).map_err(|error| self.unread(error))?;
        // What ships with the program is always there.
        if settings.emoji.is_none() {
            remember(cache, &settings.source, &read_as, digest)?;
        }
        Ok(Some(digest))
    }

    /// The folder with the extractors' weights.
    pub(crate) fn weights_folder(&self) -> PathBuf {
        self.options.weights.to_owned()
    }

    /// The digests of the weights of a reference's extractors, in their order.
    pub(crate) fn weights(
        &mut self,
        reference: &ReferenceSettings,
    ) -> Result<Vec<Option<Digest>>, SpecifyError> {
        extractors(reference)
            .iter()
            .map(|extractor| self.weights_of(extractor))
            .collect()
    }

    fn weights_of(&mut self, extractor: &ExtractorSpec) -> Result<Option<Digest>, SpecifyError> {
        // Published weights are what they are wherever they lie.
        let path = match &extractor.network {
            Network::TorchScript(network) => network.file.to_string_lossy().into_owned(),
            Network::EfficientNetLite0 | Network::InceptionV3 => extractor.name().to_owned(),
        };
        let read_as = json!(WEIGHTS);
        if let Some(error) = extractor.missing_from(self.options.weights) {
            return Ok(self.recalled(WEIGHTS, &path, &read_as, error.to_string()));
        }
        let found =
            extractor
                .check(self.options.weights)
                .map_err(|source| SpecifyError::Weights {
                    stage: self.stage.name.clone(),
                    source: Box::new(source),
                })?;
        remember(self.options.cache, &path, &read_as, found.digest)?;
        Ok(Some(found.digest))
    }

    /// Notes the weights of a reference's extractors that are missing, for a stage whose fingerprint does not depend on
    /// them.
    pub(crate) fn note_missing_weights(&mut self, reference: &ReferenceSettings) {
        let missing = (extractors(reference).into_iter())
            .filter_map(|extractor| extractor.missing_from(self.options.weights))
            .map(|error| MissingInput {
                what: WEIGHTS,
                problem: error.to_string(),
                is_known: true,
                is_for_beginning: false,
            });
        self.missing.extend(missing);
    }

    /// The digest of external statistics.
    pub(crate) fn statistics(&mut self, path: &Path) -> Result<Option<Digest>, SpecifyError> {
        self.file("statistics", path, |error| {
            format!("{error}; fix the path of `statistics`, or put the file there")
        })
    }

    /// The files of the autoencoder that a setting names; of none where it names none.
    pub(crate) fn autoencoder(
        &mut self,
        named: Option<&str>,
    ) -> Result<AutoencoderFiles, SpecifyError> {
        let Some(named) = named else {
            return Ok(AutoencoderFiles::default());
        };
        let place = autoencoder_files::place(named, self.options.weights);
        let digest = self.autoencoder_digest(named, &place)?;
        Ok(AutoencoderFiles {
            digest: digest.map(|digest| digest.to_string()),
            place: Some(place),
        })
    }

    fn autoencoder_digest(
        &mut self,
        named: &str,
        path: &Path,
    ) -> Result<Option<Digest>, SpecifyError> {
        let read_as = json!(AUTOENCODER);
        if let Some(file) = autoencoder_files::published(named) {
            match file.check(self.options.weights) {
                Ok(_) => {}
                Err(missing @ WeightsError::Missing { .. }) => {
                    let problem = missing.to_string();
                    return Ok(self.recalled(AUTOENCODER, named, &read_as, problem));
                }
                Err(source) => {
                    return Err(SpecifyError::Weights {
                        stage: self.stage.name.clone(),
                        source: Box::new(source),
                    });
                }
            }
        } else if let Some(problem) = autoencoder_files::missing(path) {
            return Ok(self.recalled(AUTOENCODER, named, &read_as, problem));
        }
        let digest = autoencoder_files::digest(path, &self.source_cache())
            .map_err(|error| self.unread(error))?;
        remember(self.options.cache, named, &read_as, digest)?;
        Ok(Some(digest))
    }

    /// The digest of latents that another program made.
    pub(crate) fn latents(&mut self, source: &str) -> Result<Option<Digest>, SpecifyError> {
        let read_as = json!(LATENTS);
        let path = Path::new(source);
        if matches!(path.try_exists(), Ok(false)) {
            let problem = format!("there are no latents at `{source}`: nothing is at that path");
            return Ok(self.recalled(LATENTS, source, &read_as, problem));
        }
        let digest =
            import_digest(path, &self.source_cache()).map_err(|error| self.unread(error))?;
        remember(self.options.cache, source, &read_as, digest)?;
        Ok(Some(digest))
    }

    fn source_cache(&self) -> SourceCache {
        SourceCache {
            folder: Some(self.options.cache.join("sources")),
            rehash: self.options.rehash,
        }
    }

    fn unread(&self, error: DatasetError) -> SpecifyError {
        SpecifyError::Source {
            stage: self.stage.name.clone(),
            source: Box::new(error),
        }
    }

    /// The digest of the network that a training starts from.
    pub(crate) fn network(&mut self, path: &Path) -> Result<Option<Digest>, SpecifyError> {
        check_format(path).map_err(|source| SpecifyError::Network {
            stage: self.stage.name.clone(),
            source,
        })?;
        self.file(NETWORK, path, |error| format!("`init_from`: {error}"))
    }

    /// The digest of the checkpoint that a training resumes from.
    pub(crate) fn checkpoint(&mut self, path: &Path) -> Result<Option<Digest>, SpecifyError> {
        self.file(CHECKPOINT, path, |error| format!("`resume_from`: {error}"))
    }

    /// The digest of a file; `describe` says what is wrong with it.
    fn file(
        &mut self,
        what: &'static str,
        path: &Path,
        describe: fn(&FileError) -> String,
    ) -> Result<Option<Digest>, SpecifyError> {
        let (typed, read_as) = (path.to_string_lossy(), json!(what));
        match Digest::of_file(path) {
            Ok(digest) => {
                remember(self.options.cache, &typed, &read_as, digest)?;
                Ok(Some(digest))
            }
            Err(error) if error.is_not_found() => {
                Ok(self.recalled(what, &typed, &read_as, describe(&error)))
            }
            Err(error) => Err(SpecifyError::File {
                stage: self.stage.name.clone(),
                problem: describe(&error),
                source: Box::new(error),
            }),
        }
    }

    /// Notes a missing input; gives its digest, if an earlier plan has read it.
    fn recalled(
        &mut self,
        what: &'static str,
        path: &str,
        read_as: &Value,
        problem: String,
    ) -> Option<Digest> {
        let digest = match what {
            // It was to be read again.
            SOURCE | LATENTS if self.options.rehash => None,
            _ => recall(self.options.cache, path, read_as),
        };
        self.missing.push(MissingInput {
            what,
            problem,
            is_known: digest.is_some(),
            is_for_beginning: [NETWORK, CHECKPOINT].contains(&what),
        });
        digest
    }
}
