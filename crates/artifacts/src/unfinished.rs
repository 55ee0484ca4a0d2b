//! What an unfinished stage is about, noted in its work folder: a later plan with other settings can then say why it does
//! not resume it.

use std::fmt;
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
    /// The program that worked on it last; none in notes of versions that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<WorkerProgram>,
}

/// A worker's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgram {
    /// Its version.
    pub version: String,
    /// The digest of its file.
    pub blake3: Digest,
}

impl fmt::Display for WorkerProgram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.blake3.to_string();
        write!(formatter, "{}, digest {}…", self.version, &digest[..12])
    }
}

impl WorkerProgram {
    /// That of this process, also where another one lies in its place by now.
    fn own() -> Result<Self, FileError> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            blake3: Digest::of_file(Path::new("/proc/self/exe"))?,
        })
    }
}

/// Notes a job and this program in its work folder; gives a warning where an earlier attempt was another program's.
pub(crate) fn note(job: &Job, work: &Path) -> Result<Option<String>, FileError> {
    let path = work.join(FILE);
    // A system without `/proc` does without.
    let program = WorkerProgram::own().ok();
    let earlier = file_error::read_json::<Unfinished>(&path).ok();
    if let Some(earlier) = &earlier
        && (earlier.program == program || program.is_none())
    {
        return Ok(None);
    }
    let note = Unfinished {
        kind: job.kind.clone(),
        fingerprint: job.fingerprint,
        format_version: job.format_version,
        settings: job.settings.clone(),
        source: job.source,
        inputs: job.inputs.iter().map(|input| input.input.clone()).collect(),
        program,
    };
    durable::write_json(&path, &note)?;
    let programs = earlier
        .and_then(|earlier| earlier.program)
        .zip(note.program);
    Ok(programs.map(|(earlier, own)| {
        format!(
            "it resumes the work of another build of the worker ({earlier}; this is {own}): the bytes may differ from those of \
             one build alone"
        )
    }))
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    #[test]
    fn work_that_another_build_began_is_resumed_with_a_warning() {
        let work = tempfile::tempdir().unwrap();
        let job = Job {
            stage: "train".to_owned(),
            kind: "train".to_owned(),
            format_version: 6,
            fingerprint: Fingerprint::of(&json!(1)),
            settings: json!({}),
            execution: json!({}),
            source: None,
            inputs: Vec::new(),
            home: PathBuf::new(),
            logs: PathBuf::new(),
            place: None,
        };
        let noted = || note(&job, work.path()).unwrap();
        assert_eq!(noted(), None);
        assert_eq!(noted(), None, "the same program");
        let path = work.path().join(FILE);
        let mut earlier: Unfinished = file_error::read_json(&path).unwrap();
        let own = earlier.program.clone().unwrap();
        earlier.program = Some(WorkerProgram {
            version: "0.0.1".to_owned(),
            blake3: Digest::of(b"another build"),
        });
        durable::write_json(&path, &earlier).unwrap();
        let warning = noted().unwrap();
        assert!(warning.contains("0.0.1"), "{warning}");
        assert_eq!(noted(), None, "it is said once");
        let noted: Unfinished = file_error::read_json(&path).unwrap();
        assert_eq!(noted.program, Some(own));
        // A note of a version that did not record it.
        earlier.program = None;
        durable::write_json(&path, &earlier).unwrap();
        assert_eq!(note(&job, work.path()).unwrap(), None);
    }
}
