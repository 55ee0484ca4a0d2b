//! What an artifact says of itself: `manifest.json`, and nothing in it that differs between two equal runs.

use std::path::{Component, Path};
use std::{io, iter};

use patchwork_core::{Digest, FileError, Fingerprint, durable, file_error, name};
use patchwork_terms::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The file's name in an artifact's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The version of the manifest that this program writes.
pub const MANIFEST_FORMAT: &str = "patchwork.artifact/1";

/// The manifest of a finished artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`MANIFEST_FORMAT`].
    pub format: String,
    /// The stage's kind.
    pub kind: String,
    /// The stage's fingerprint, which is also the folder's name.
    pub fingerprint: Fingerprint,
    /// The stage's format version.
    pub format_version: u32,
    /// The settings that made it.
    pub settings: Value,
    /// The digest of the raw data, for a stage that reads any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<Digest>,
    /// The artifacts that it was made from.
    pub inputs: Vec<ManifestInput>,
    /// Every file of the artifact but this one, by path.
    pub files: Vec<ManifestFile>,
    /// What the stage found and measured.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// An artifact that another was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestInput {
    /// Its kind.
    pub kind: String,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
}

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// The path below the artifact's folder, with `/` between its parts.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its BLAKE3 digest.
    pub blake3: Digest,
}

/// What a stage gives back besides its files: the same for two equal runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Facts for people and for later stages, such as counts and credits.
    pub summary: Map<String, Value>,
    /// Measured qualities of models, each with what makes it comparable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Score>,
}

impl Outcome {
    /// An outcome from a literal object of facts.
    ///
    /// # Panics
    /// If `summary` is not an object.
    pub fn new(summary: Value, scores: Vec<Score>) -> Self {
        let Value::Object(summary) = summary else {
            panic!("a summary is an object, not {summary}")
        };
        Self { summary, scores }
    }
}

/// A measured quality with everything that a comparison needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What was measured.
    pub subject: Subject,
    /// The metric's name, such as `fid` or `fd_efficientnet_lite0`.
    pub metric: String,
    /// What kind of number it is; none in scores of versions that did not record it: see [`Score::quantity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// Its value.
    pub value: f64,
    /// Its standard deviation, where it was estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// The feature extractor.
    pub extractor: String,
    /// The digest of the extractor's weights.
    pub extractor_digest: Digest,
    /// How images are resized before the extractor.
    pub resize: String,
    /// The reference's fingerprint.
    pub reference: Fingerprint,
    /// How many images the reference holds; 0 for an external one that does not say.
    pub reference_images: u64,
    /// Whether the reference is external, so that only its file says what it is of.
    #[serde(default)]
    pub reference_foreign: bool,
    /// How many images were measured.
    pub samples: u64,
    /// Their seeds; empty for a baseline.
    pub seeds: String,
    /// The pixel format between the sampler and the extractor.
    pub codec: String,
    /// How many training images the measured model had seen; none for a baseline.
    pub images_seen: Option<u64>,
}

impl Score {
    /// What kind of number it is.
    pub fn quantity(&self) -> Quantity {
        self.quantity
            .unwrap_or_else(|| Quantity::of_unrecorded(&self.metric))
    }
}

/// What a score is of. An artifact does not know the names of stages, so inputs are named by their position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The stage's input at that position of its `needs`.
    Input(usize),
    /// Something to compare with, such as `noise`.
    Baseline(String),
}

impl Manifest {
    /// Reads the manifest of an artifact's folder.
    ///
    /// # Errors
    /// One that names a file outside of the folder, or a kind that is not a name, too.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(MANIFEST_FILE);
        let manifest: Self = file_error::read_json(&path)?;
        let mut files = manifest.files.iter().map(|file| &file.path);
        let wrong_file = files.find(|file| !is_below(file));
        let inputs = manifest.inputs.iter().map(|input| &input.kind);
        let mut kinds = iter::once(&manifest.kind).chain(inputs);
        let Some(wrong) = wrong_file.or_else(|| kinds.find(|kind| !name::is_plain(kind))) else {
            return Ok(manifest);
        };
        let problem =
            format!("it has {wrong:?} for the name of a file below its folder or of a kind");
        let cause = io::Error::new(io::ErrorKind::InvalidData, problem);
        Err(FileError::new("use", &path, cause))
    }

    /// Writes the manifest into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        durable::write_json(&folder.join(MANIFEST_FILE), self)
    }
}

/// Whether a path leads to something below where it starts.
fn is_below(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Digests every file below a folder, sorted by path; the manifest itself is left out.
pub fn list_files(folder: &Path) -> Result<Vec<ManifestFile>, FileError> {
    let mut files = Vec::new();
    collect(folder, "", &mut files)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<ManifestFile>) -> Result<(), FileError> {
    for path in durable::list(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{relative}/"), files)?;
        } else if relative != MANIFEST_FILE {
            let length = std::fs::metadata(&path)
                .map_err(|source| FileError::new("read the size of", &path, source))?
                .len();
            files.push(ManifestFile {
                path: relative,
                bytes: length,
                blake3: Digest::of_file(&path)?,
            });
        }
    }
    Ok(())
}
