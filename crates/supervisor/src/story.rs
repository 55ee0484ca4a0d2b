//! What a run's folder tells of the run without the registry: `run.json`, and the series in `series.jsonl`.
//!
//! The registry is the index; it can be made again from these files and the artifacts' manifests.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use patchwork_core::name::{PLAIN, is_plain, run_number};
use patchwork_core::{FileError, Fingerprint, durable, file_error};
use patchwork_registry::{EventLevel, RunStatus, StageStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provenance::Provenance;

/// The version of the story that this program writes.
pub const STORY_FORMAT: &str = "patchwork.run/1";

/// The story's file in a run's folder.
pub const STORY_FILE: &str = "run.json";

const SERIES_FILE: &str = "series.jsonl";

/// Events that the story keeps: those of the run's beginning, and its latest ones. The registry has all of them.
const FIRST_EVENTS: usize = 100;
const LAST_EVENTS: usize = 100;

/// A run, told in full but for its series. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    /// Always [`STORY_FORMAT`].
    pub format: String,
    /// The run's name.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// The supervisor's process.
    pub pid: u32,
    /// The circumstances.
    pub provenance: Provenance,
    /// The resolved pipeline.
    pub definition: Value,
    /// Every setting: dotted key and value.
    pub params: Vec<(String, String)>,
    /// In the pipeline's order.
    pub stages: Vec<StageStory>,
    /// In order of start.
    pub attempts: Vec<AttemptStory>,
    /// The first hundred and the last hundred, in order of time; what the registry refused comes last.
    pub events: Vec<EventStory>,
    /// How many between them are left out.
    #[serde(default)]
    pub events_left_out: u64,
}

/// A stage of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageStory {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// The stages whose artifacts it reads.
    pub needs: Vec<String>,
    /// What its artifact is called.
    pub fingerprint: Fingerprint,
    /// Where it stands.
    pub status: StageStatus,
    /// When its first attempt started.
    pub started: Option<String>,
    /// When it came to its end.
    pub ended: Option<String>,
}

/// An attempt at a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptStory {
    /// The stage.
    pub stage: String,
    /// From 1.
    pub number: u32,
    /// The worker's process.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Exit status, signal, or what else ended it.
    pub exit: Option<String>,
    /// The error and its causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error: Vec<String>,
    /// Processor time of all its threads.
    pub cpu_seconds: Option<f64>,
    /// The most memory that was resident at once.
    pub peak_memory_bytes: Option<u64>,
}

/// Something that a person should know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventStory {
    /// To which stage.
    pub stage: Option<String>,
    /// How grave.
    pub level: EventLevel,
    /// What.
    pub message: String,
    /// When.
    pub time: String,
}

/// A point of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointStory {
    /// The stage.
    pub stage: String,
    /// The series.
    pub name: String,
    /// The step, in the stage's own unit.
    pub step: i64,
    /// The value; none: not a number.
    pub value: Option<f64>,
    /// Milliseconds since 1970.
    pub time: u64,
}

impl Story {
    /// Reads the story of a run's folder.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        file_error::read_json(&folder.join(STORY_FILE))
    }

    /// Whether the names can be those of a run, its stages and their kinds, which are parts of paths; else what is wrong.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        let stages = self.stages.iter();
        let parts = stages.flat_map(|stage| [&stage.name, &stage.kind]);
        if let Some(wrong) = [&self.pipeline]
            .into_iter()
            .chain(parts)
            .find(|name| !is_plain(name))
        {
            return Err(format!("it has the name {wrong:?}; {PLAIN}"));
        }
        if run_number(&self.run, &self.pipeline).is_none() {
            return Err(format!(
                "{:?} is no name of a run of `{}`",
                self.run, self.pipeline
            ));
        }
        Ok(())
    }

    /// Writes the story into the run's folder.
    pub fn write(&self, folder: &Path) -> Result<(), FileError> {
        durable::write_json(&folder.join(STORY_FILE), self)
    }

    /// Adds an event; of many, those in the middle go.
    pub fn add_event(&mut self, event: EventStory) {
        if self.events.len() >= FIRST_EVENTS + LAST_EVENTS {
            self.events.remove(FIRST_EVENTS);
            self.events_left_out += 1;
        }
        self.events.push(event);
    }

    /// The stage of this name.
    pub fn stage_mut(&mut self, name: &str) -> Option<&mut StageStory> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }
}

/// A stage went on from a step: its points of later steps, so far, no longer hold.
#[derive(Debug, Serialize, Deserialize)]
struct ResumptionStory {
    stage: String,
    resumed_at: u64,
}

/// A point as a line of the series.
pub(crate) fn point_line(point: &PointStory) -> Vec<u8> {
    line(point)
}

/// The note of the series that a stage went on from a step.
pub(crate) fn resumption_line(stage: &str, step: u64) -> Vec<u8> {
    line(&ResumptionStory {
        stage: stage.to_owned(),
        resumed_at: step,
    })
}

fn line(entry: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
    line.push(b'\n');
    line
}

/// Appends lines to a run's series. A crash may cut the last one off, which readers leave out; what fails leaves
/// nothing behind, so that it can be tried again.
pub(crate) fn append_to_series(folder: &Path, lines: &[u8]) -> Result<(), FileError> {
    let path = folder.join(SERIES_FILE);
    let append = || {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&path)?;
        let before = file.metadata()?.len();
        file.write_all(lines).inspect_err(|_| {
            let _ = file.set_len(before);
        })
    };
    append().map_err(|source| FileError::new("append to", &path, source))
}

/// The points of a run's series that hold, in the order in which they were recorded.
pub fn read_points(folder: &Path) -> Result<Vec<PointStory>, FileError> {
    let path: PathBuf = folder.join(SERIES_FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let failed = |source| FileError::new("read", &path, source);
    let lines = std::io::BufReader::new(file_error::open(&path)?).lines();
    let mut points: Vec<PointStory> = Vec::new();
    for line in lines {
        let line = line.map_err(failed)?;
        if let Ok(point) = serde_json::from_str(&line) {
            points.push(point);
        } else if let Ok(ResumptionStory { stage, resumed_at }) = serde_json::from_str(&line) {
            let last = i64::try_from(resumed_at).unwrap_or(i64::MAX);
            points.retain(|point| point.stage != stage || point.step <= last);
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_many_events_the_first_and_the_last_are_kept() {
        let mut story = Story {
            format: STORY_FORMAT.to_owned(),
            run: "test-1".to_owned(),
            pipeline: "test".to_owned(),
            status: RunStatus::Running,
            started: String::new(),
            ended: None,
            pid: 1,
            provenance: Provenance::collect(Vec::new(), Path::new("."), json!({})),
            definition: json!({}),
            params: Vec::new(),
            stages: Vec::new(),
            attempts: Vec::new(),
            events: Vec::new(),
            events_left_out: 0,
        };
        for number in 0..1000 {
            story.add_event(EventStory {
                stage: None,
                level: EventLevel::Warning,
                message: number.to_string(),
                time: String::new(),
            });
        }
        let kept: Vec<u32> = (story.events.iter())
            .map(|event| event.message.parse().unwrap())
            .collect();
        let expected: Vec<u32> = (0..100).chain(900..1000).collect();
        assert_eq!((kept, story.events_left_out), (expected, 800));
    }
}
