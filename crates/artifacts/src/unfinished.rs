//! What an unfinished stage is about, noted in its work folder: a later plan with other settings can then say why it does
//! not resume it.

use std::path::Path;

use patchwork_core::lock::FileLock;
use patchwork_core::{Digest, FileError, Fingerprint, durable, file_error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::ManifestInput;
use crate::protocol::Job;
use crate::store::Store;

/// The note's file in a work folder.
pub const FILE: &str = "job.json";

/// What goes into the fingerprint of an unfinished stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unfinished {
    /// The stage's kind.
    pub kind: String,
    /// What its artifact is called.
    pub fingerprint: Fingerprint,
    /// The version of what the kind writes.
    pub format_version: u32,
    /// The settings that can change the output.
    pub settings: Value,
    /// The digest of the raw data, for a stage that reads any.
    pub source: Option<Digest>,
    /// The artifacts that it is made from.
    pub inputs: Vec<ManifestInput>,
}

/// Notes a job in its work folder, unless an earlier attempt has.
pub(crate) fn note(job: &Job, work: &Path) -> Result<(), FileError> {
    let path = work.join(FILE);
    if path.is_file() {
        return Ok(());
    }
    let note = Unfinished {
        kind: job.kind.clone(),
        fingerprint: job.fingerprint,
        format_version: job.format_version,
        settings: job.settings.clone(),
        source: job.source,
        inputs: job.inputs.iter().map(|input| input.input.clone()).collect(),
    };
    durable::write_json(&path, &note)
}

/// The unfinished stages of a kind that have something to resume from and that no process works on.
pub fn find(store: &Store, kind: &str) -> Result<Vec<Unfinished>, FileError> {
    let mut found = Vec::new();
    for work in durable::list(&store.home().join("work"))? {
        let note = file_error::read_json::<Unfinished>(&work.join(FILE));
        let Some(note) = note.ok().filter(|note| note.kind == kind) else {
            continue;
        };
        let has_files = |folder: &str| {
            let files = durable::list(&work.join(folder));
            files.is_ok_and(|files| !files.is_empty())
        };
        let is_free = matches!(
            FileLock::try_acquire(&store.lock(note.fingerprint)),
            Ok(Some(_))
        );
        if is_free && (has_files("state") || has_files("artifact")) {
            found.push(note);
        }
    }
    Ok(found)
}
