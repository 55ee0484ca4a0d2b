//! The event files of a folder.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use patchwork_core::{FileError, durable};

use crate::{message, record};

/// TensorBoard looks for `tfevents` in a name and reads a folder's files in the order of their names.
const PREFIX: &str = "events.out.tfevents.";

/// Writes one event file; every call leaves whole records, which TensorBoard shows at once.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Starts a new file after those that are in the folder, which is made if it is missing.
    ///
    /// What they say of steps from `first_step` on no longer holds: an attempt that resumes from a checkpoint does
    /// those steps again. The torn end of the last one is cut off.
    pub fn open(folder: &Path, first_step: u64) -> Result<Self, FileError> {
        durable::create_dir_all(folder)?;
        let earlier: Vec<(u64, PathBuf)> = durable::list(folder)?
            .into_iter()
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        let last = earlier.iter().max_by_key(|(number, _)| *number);
        if let Some((_, path)) = last {
            cut_torn_end(path)?;
        }
        let next = last.map_or(1, |(number, _)| number + 1);
        let path = folder.join(format!("{PREFIX}{next:010}.patchwork"));
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(|source| FileError::new("create", &path, source))?;
        let mut writer = Self { file, path };
        writer.append(&message::version(now()))?;
        writer.restart(first_step)?;
        Ok(writer)
    }

    /// Says that what was written so far of steps from `first_step` on no longer holds.
    pub fn restart(&mut self, first_step: u64) -> Result<(), FileError> {
        self.append(&message::session_start(now(), first_step))
    }

    /// Adds one value each to some curves.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), FileError> {
        self.append(&message::scalars(now(), step, values))
    }

    /// Adds an RGB picture, given as PNG, to a series of pictures.
    pub fn image(&mut self, step: u64, name: &str, png: &[u8]) -> Result<(), FileError> {
        self.append(&message::image(now(), step, name, png))
    }

    fn append(&mut self, event: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all(&record::frame(event))
            .map_err(|source| FileError::new("append to", &self.path, source))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Which of its folder's files this is, if it is one of ours.
fn number(path: &Path) -> Option<u64> {
    let rest = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    rest.strip_suffix(".patchwork")?.parse().ok()
}

fn cut_torn_end(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::new("repair", path, source);
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let whole = record::whole_bytes(BufReader::new(&file)).map_err(failed)?;
    if whole < file.metadata().map_err(failed)?.len() {
        file.set_len(whole).map_err(failed)?;
    }
    Ok(())
}
