//! What a stage on files reads: finished artifacts that lie anywhere.

use std::path::{Path, PathBuf};

use patchwork_artifacts::manifest::{MANIFEST_FORMAT, ManifestFile};
use patchwork_artifacts::{Demand, Manifest, Outcome, StageSpec, Store};
use patchwork_core::{Digest, FileError, Fingerprint, durable};
use patchwork_recipes::{Execution, Stage, StageSettings};
use patchwork_terms::Kind;
use serde_json::json;

use crate::commands::workplace::INPUTS;
use crate::error::CliError;

/// What a training's artifact calls its network.
const NETWORK_FILE: &str = "network.safetensors";

/// A finished artifact, or files that are made one.
pub(super) struct Input {
    /// What the stage that reads it calls it.
    pub(super) name: String,
    /// Where it lies, absolute.
    folder: PathBuf,
    manifest: Manifest,
}

impl Input {
    /// An artifact's folder, of one of `kinds`.
    pub(super) fn open(name: &str, folder: &Path, kinds: &[Kind]) -> Result<Self, CliError> {
        let refuse = |problem: String| CliError::NoArtifact {
            path: folder.to_owned(),
            problem,
            wanted: kinds
                .iter()
                .map(|kind| format!("`{kind}`"))
                .collect::<Vec<_>>()
                .join(" or "),
        };
        let absolute = folder
            .canonicalize()
            .map_err(|source| FileError::new("read", folder, source))?;
        let manifest = Manifest::read(&absolute).map_err(|error| refuse(error.to_string()))?;
        if !kinds.iter().any(|kind| kind.name() == manifest.kind) {
            return Err(refuse(format!(
                "it is the artifact of a `{}` stage",
                manifest.kind
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            folder: absolute,
            manifest,
        })
    }

    /// A network's file, made the artifact of a training of unknown settings, in `home`.
    pub(super) fn network(name: &str, file: &Path, home: &Path) -> Result<Self, CliError> {
        let digest = Digest::of_file(file)?;
        let fingerprint = Fingerprint::of(&json!({ "network": digest }));
        let folder = home.join(INPUTS).join(fingerprint.to_string());
        durable::create_dir_all(&folder)?;
        let absolute = file
            .canonicalize()
            .map_err(|source| FileError::new("read", file, source))?;
        durable::link(&absolute, &folder.join(NETWORK_FILE))?;
        let bytes = std::fs::metadata(file)
            .map_err(|source| FileError::new("read the size of", file, source))?
            .len();
        let manifest = Manifest {
            format: MANIFEST_FORMAT.to_owned(),
            kind: Kind::Train.to_string(),
            fingerprint,
            format_version: 1,
            settings: json!({}),
            source: None,
            inputs: Vec::new(),
            files: vec![ManifestFile {
                path: NETWORK_FILE.to_owned(),
                bytes,
                blake3: digest,
            }],
            outcome: Outcome::default(),
        };
        manifest.write(&folder)?;
        let folder = folder
            .canonicalize()
            .map_err(|source| FileError::new("read", &folder, source))?;
        Ok(Self {
            name: name.to_owned(),
            folder,
            manifest,
        })
    }

    /// The artifact of a kind that it was made from, where that lies in the same home folder.
    pub(super) fn made_from(&self, name: &str, kind: Kind) -> Result<Option<Self>, CliError> {
        let mut inputs = self.manifest.inputs.iter();
        let Some(input) = inputs.find(|input| input.kind == kind.name()) else {
            return Ok(None);
        };
        // `artifacts/KIND/FINGERPRINT`
        let artifacts = self.folder.parent().and_then(Path::parent);
        let folder = artifacts.map(|artifacts| {
            artifacts
                .join(kind.name())
                .join(input.fingerprint.to_string())
        });
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) => Self::open(name, &folder, &[kind]).map(Some),
            None => Ok(None),
        }
    }

    /// The names of the classes that a training conditioned its network on; none where they are not known.
    pub(super) fn class_names(&self) -> Option<Vec<String>> {
        let names = self.manifest.outcome.summary.get("class_names")?;
        serde_json::from_value(names.clone()).ok()
    }

    /// The kind of stage that made it.
    pub(super) fn kind(&self) -> Option<Kind> {
        serde_json::from_value(json!(self.manifest.kind)).ok()
    }

    /// The stage that made it, as far as its settings are known: what is checked against them is checked then.
    pub(super) fn stage(&self) -> Option<Stage> {
        let settings = self.manifest.settings.clone();
        // Of a network's file, nothing is known.
        let is_known = settings
            .as_object()
            .is_some_and(|settings| !settings.is_empty());
        Some(Stage {
            name: self.name.clone(),
            needs: Vec::new(),
            settings: (StageSettings::from_json(self.kind()?, settings).ok())
                .filter(|_| is_known)?,
            execution: Execution::default(),
        })
    }

    /// The artifact to the supervisor.
    pub(super) fn spec(&self) -> StageSpec {
        StageSpec {
            name: self.name.clone(),
            kind: self.manifest.kind.clone(),
            format_version: self.manifest.format_version,
            needs: Vec::new(),
            settings: self.manifest.settings.clone(),
            execution: json!({}),
            source: self.manifest.source,
            external: Some(self.manifest.fingerprint),
            missing: Vec::new(),
            demand: Demand::default(),
            retries: 0,
            timeout: None,
        }
    }

    pub(super) fn put_in_place(&self, store: &Store) -> Result<(), FileError> {
        let Manifest {
            kind, fingerprint, ..
        } = &self.manifest;
        store.link_external(kind, *fingerprint, &self.folder)
    }
}
