//! What a run's folder records of the run without the registry: its records in `journal.jsonl`, its measurements in
//! `series.jsonl`.
//!
//! The registry is the index; it can be made again from these files. Both are JSON, a line each, and only grow. A crash
//! may cut a line off: readers leave it out.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use patchwork_artifacts::event::{Event, Record, RunStart};
use patchwork_artifacts::time::Timestamp;
use patchwork_core::{FileError, durable, file_error};
use serde::{Deserialize, Serialize};

use crate::earlier::{EarlierRun, RUN_FILE};
use crate::run_records::RunRecords;

/// The file of a run's records.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// The file of a run's measurements.
pub const SERIES_FILE: &str = "series.jsonl";

/// A point of a series, as its line has it.
#[derive(Debug, Serialize, Deserialize)]
struct Point {
    stage: String,
    name: String,
    step: u64,
    /// None: not a number.
    value: Option<f64>,
    /// Milliseconds since 1970.
    time: i64,
}

/// A stage resumed from a step: its points of later steps, so far, no longer hold.
#[derive(Debug, Serialize, Deserialize)]
struct Resumption {
    stage: String,
    resumed_at: u64,
}

/// A record as a line of the journal.
pub(crate) fn journal_line(record: &Record) -> Vec<u8> {
    line(record)
}

/// Appends lines to a run's journal; they are on the disk when it returns.
pub(crate) fn append_to_journal(folder: &Path, lines: &[u8]) -> Result<(), FileError> {
    durable::append_lines(&folder.join(JOURNAL_FILE), lines)
}

/// A measurement, or that a stage resumed, as a line of the series; nothing of what has no place there.
pub(crate) fn series_line(record: &Record) -> Vec<u8> {
    let stage = record.stage.clone().unwrap_or_default();
    match &record.event {
        Event::Metric { name, step, value } => line(&Point {
            stage,
            name: name.clone(),
            step: *step,
            value: value.is_finite().then_some(*value),
            time: record.time.milliseconds(),
        }),
        Event::Resumed { step } => line(&Resumption {
            stage,
            resumed_at: *step,
        }),
        _ => Vec::new(),
    }
}

fn line(entry: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(entry).expect("an entry is plain data");
    line.push(b'\n');
    line
}

/// Appends lines to a run's series. What fails leaves nothing behind, so that it can be tried again.
pub(crate) fn append_to_series(folder: &Path, lines: &[u8]) -> Result<(), FileError> {
    let path = folder.join(SERIES_FILE);
    let mut file = durable::open_to_append(&path)?;
    let mut append = || {
        let before = file.metadata()?.len();
        file.write_all(lines).inspect_err(|_| {
            let _ = file.set_len(before);
        })
    };
    append().map_err(|source| FileError::new("append to", &path, source))
}

/// Whether a folder has the records of a run, or something in their place.
pub fn has_records(folder: &Path) -> bool {
    [JOURNAL_FILE, RUN_FILE]
        .iter()
        // One that cannot be looked at may be there.
        .any(|file| folder.join(file).try_exists().unwrap_or(true))
}

/// Reads the records of a run's folder, also of one that an earlier version wrote.
///
/// # Errors
/// A file that cannot be read, or does not begin with the run's start.
pub fn read_records(folder: &Path) -> Result<RunRecords, FileError> {
    let path = folder.join(JOURNAL_FILE);
    if matches!(path.try_exists(), Ok(false)) {
        return EarlierRun::read(folder).map(EarlierRun::into_records);
    }
    let failed = |source| FileError::new("read", &path, source);
    let (mut records, mut unreadable, mut is_last_unreadable) = (Vec::new(), 0, false);
    for line in BufReader::new(file_error::open(&path)?).split(b'\n') {
        let record = serde_json::from_slice::<Record>(&line.map_err(failed)?);
        is_last_unreadable = record.is_err();
        match record {
            Ok(record) => records.push(record),
            Err(_) => unreadable += 1,
        }
    }
    let Some(Record {
        time,
        event: Event::RunStarted(start),
        ..
    }) = records.first()
    else {
        let cause = "it does not begin with the start of a run";
        return Err(failed(std::io::Error::other(cause)));
    };
    Ok(RunRecords {
        started: *time,
        start: RunStart::clone(start),
        unreadable: unreadable - usize::from(is_last_unreadable),
        records,
    })
}

/// The measurements of a run's series that hold, in the order in which they were made.
pub fn read_series(folder: &Path) -> Result<Vec<Record>, FileError> {
    let path = folder.join(SERIES_FILE);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let failed = |source| FileError::new("read", &path, source);
    let mut points: Vec<Point> = Vec::new();
    for line in BufReader::new(file_error::open(&path)?).split(b'\n') {
        let line = line.map_err(failed)?;
        if let Ok(point) = serde_json::from_slice(&line) {
            points.push(point);
        } else if let Ok(Resumption { stage, resumed_at }) = serde_json::from_slice(&line) {
            points.retain(|point| point.stage != stage || point.step <= resumed_at);
        }
    }
    let records = points.into_iter().map(|point| Record {
        time: Timestamp::from_milliseconds(point.time),
        stage: Some(point.stage),
        attempt: None,
        event: Event::Metric {
            name: point.name,
            step: point.step,
            value: point.value.unwrap_or(f64::NAN),
        },
    });
    Ok(records.collect())
}
