//! What happened in a run, by its folder.

use patchwork_artifacts::event::{Event, Record, RunStart};
use patchwork_artifacts::time::Timestamp;
use patchwork_core::name::{PLAIN, is_plain, run_number};

/// A run as its folder records it, without its series.
#[derive(Debug)]
pub struct RunRecords {
    /// When it started.
    pub started: Timestamp,
    /// What was known then.
    pub start: RunStart,
    /// What happened, the start first.
    pub records: Vec<Record>,
    /// Lines that could not be read, but for one that a crash cut off at the end.
    pub unreadable: usize,
}

impl RunRecords {
    /// Whether the names can be those of a run, its stages, their kinds and artifacts, which are parts of paths; else what is
    /// wrong.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        let start = &self.start;
        let parts = start
            .stages
            .iter()
            .flat_map(|stage| [&stage.name, &stage.kind]);
        let mut names = [&start.pipeline].into_iter().chain(parts);
        if let Some(wrong) = names.find(|name| !is_plain(name)) {
            return Err(format!("it has the name {wrong:?}; {PLAIN}"));
        }
        if run_number(&start.run, &start.pipeline).is_none() {
            let (run, pipeline) = (&start.run, &start.pipeline);
            return Err(format!("{run:?} is not a name of a run of `{pipeline}`"));
        }
        let artifacts = self
            .records
            .iter()
            .filter_map(|record| match &record.event {
                Event::StageEnded { artifact, .. } => artifact.as_deref(),
                _ => None,
            });
        for artifact in artifacts {
            let place = format!("artifacts/{}/{}", artifact.kind, artifact.fingerprint);
            if artifact.path != place || !is_plain(&artifact.kind) {
                return Err(format!("it has an artifact at {:?}", artifact.path));
            }
        }
        Ok(())
    }
}
