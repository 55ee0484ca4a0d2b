//! The durable points of training.
//!
//! A checkpoint is a safetensors file, `checkpoint-STEP.NN.safetensors`, with weights, averages and moments as tensors
//! and everything else as JSON in its metadata, and a record, `checkpoint-STEP.NN.json`, written after it, with its
//! digest. NN counts the checkpoints of one step: none is ever written over another. Those of the newest two steps are
//! kept: should the last be damaged, training resumes from the one before it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use patchwork_core::{Digest, FileError, durable, file_error};
use patchwork_networks::{NetworkConfig, NetworkError};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::checkpoint_file::{Checkpoint, CheckpointError, State, read_state, write};
use super::retention::RetainedSnapshots;

const KEPT: usize = 2;
const FORMAT: &str = "patchwork.checkpoint/2";

/// The extension of a record, and of that of an unusable checkpoint.
const RECORD: &str = "json";

/// What names of checkpoints begin with.
const PREFIX: &str = "checkpoint-";
const SET_ASIDE: &str = "unusable";

#[derive(Serialize, Deserialize)]
struct Record {
    format: String,
    blake3: Digest,
}

/// The checkpoints in a stage's folder.
pub(crate) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Those in a folder, rid of tensors that a death left without their record.
    pub(crate) fn open(folder: &Path) -> Result<Self, FileError> {
        durable::remove_partials(folder)?;
        for path in durable::list(folder)? {
            let has = |extension: &str| path.with_extension(extension).exists();
            let is_checkpoint = name(&path).starts_with("checkpoint-") && !is_record(&path);
            if is_checkpoint && !has(RECORD) && !has(SET_ASIDE) {
                durable::remove_file(&path)?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Those that another process writes: this one does not look at them.
    pub(crate) fn of_another_process(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The newest whole checkpoint, and a message for each newer one that is not. The latter are set aside, so that they
    /// do not count among those that are kept.
    ///
    /// # Errors
    /// [`RestoreError::NoneWhole`] where there are checkpoints and none of them can be used: hours of training are not
    /// to be begun again without a word.
    pub(crate) fn newest(&self) -> Result<(Option<Checkpoint>, Vec<String>), RestoreError> {
        let mut problems = Vec::new();
        let mut unusable: Vec<PathBuf> = Vec::new();
        let mut records = self.records()?;
        while let Some(record) = records.pop() {
            match read(&record) {
                // It may be sound, and readable the next time.
                Err(error) if error.is_unread() => return Err(error.into()),
                Ok(checkpoint) => {
                    for record in &unusable {
                        set_aside(record)?;
                    }
                    return Ok((Some(checkpoint), problems));
                }
                Err(error) => {
                    problems.push(format!(
                        "checkpoint `{}` cannot be used ({error}); going back to the one before it",
                        record.display()
                    ));
                    unusable.push(record);
                }
            }
        }
        if problems.is_empty() {
            return Ok((None, problems));
        }
        Err(RestoreError::NoneWhole {
            folder: self.folder.clone(),
            problems: problems.join("\n"),
        })
    }

    /// Whether there is one, whole or not.
    pub(crate) fn is_any(&self) -> Result<bool, FileError> {
        Ok(!self.records()?.is_empty())
    }

    /// The tensors of the newest one, whole or not.
    pub(crate) fn newest_file(&self) -> Result<Option<PathBuf>, FileError> {
        let newest = self.records()?.pop();
        Ok(newest.map(|record| record.with_extension("safetensors")))
    }

    /// The snapshots that the checkpoints list, those of every one; none where one of them cannot be read.
    pub(crate) fn listed_snapshots(&self) -> Result<Option<Vec<RetainedSnapshots>>, FileError> {
        let states = self.records()?.into_iter().map(|record| {
            let state = read_state(&record.with_extension("safetensors"));
            state.ok().map(|state| state.snapshots)
        });
        Ok(states.collect())
    }

    /// Writes a checkpoint, then removes all but those of the newest two steps.
    pub(crate) fn save(
        &self,
        tensors: &[(String, Tensor)],
        config: &NetworkConfig,
        state: &State,
    ) -> Result<(), NetworkError> {
        let step = format!("{PREFIX}{:09}", state.position.step);
        let of_step: Vec<PathBuf> = durable::list(&self.folder)?
            .into_iter()
            .filter(|path| name(path).starts_with(&step))
            .collect();
        let number = of_step.iter().filter_map(|path| number(path)).max();
        let number = number.map_or(0, |number| number + 1);
        let record = self.folder.join(format!("{step}.{number:02}.json"));
        let blake3 = write(
            &record.with_extension("safetensors"),
            tensors,
            config,
            state,
        )?;
        let format = FORMAT.to_owned();
        durable::write_json(&record, &Record { format, blake3 })?;
        for old in of_step.iter().filter(|path| is_record(path)) {
            remove(old)?;
        }
        let records = self.records()?;
        for old in &records[..records.len().saturating_sub(KEPT)] {
            remove(old)?;
        }
        Ok(())
    }

    /// Removes the newest checkpoint if there is an older one to resume from; says whether it was so.
    pub(crate) fn forget_newest(&self) -> Result<bool, FileError> {
        let mut records = self.records()?;
        let Some(newest) = records.pop().filter(|_| !records.is_empty()) else {
            return Ok(false);
        };
        remove(&newest)?;
        Ok(true)
    }

    /// The records, oldest first: their names sort by step.
    fn records(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = durable::list(&self.folder)?;
        paths.retain(|path| is_record(path));
        Ok(paths)
    }
}

/// Other notes of the stage lie in the folder as well, such as how latents are decoded.
fn is_record(path: &Path) -> bool {
    name(path).starts_with(PREFIX)
        && path
            .extension()
            .is_some_and(|extension| extension == RECORD)
}

fn name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Which of its step's checkpoints it is: the NN of its name.
fn number(record: &Path) -> Option<u32> {
    Path::new(record.file_stem()?)
        .extension()?
        .to_str()?
        .parse()
        .ok()
}

/// The checkpoint of another training in a file, which may have its record beside it.
pub(crate) fn of_another(path: &Path, digest: Digest) -> Result<Checkpoint, CheckpointError> {
    let record = path.with_extension(RECORD);
    if record.is_file() {
        let recorded = file_error::read_json::<Record>(&record)?.blake3;
        if recorded != digest {
            let found = digest;
            return Err(CheckpointError::Digest { recorded, found });
        }
    } else if path.with_extension(SET_ASIDE).is_file() {
        return Err(CheckpointError::SetAside);
    }
    Checkpoint::open(path, digest)
}

/// Takes an unusable checkpoint out of the way of others, and keeps it for whoever wants to look.
fn set_aside(record: &Path) -> Result<(), FileError> {
    durable::rename_file(record, &record.with_extension(SET_ASIDE))
}

fn remove(record: &Path) -> Result<(), FileError> {
    // The record goes first: without it the tensors are not a checkpoint.
    durable::remove_file(record)?;
    durable::remove_file(&record.with_extension("safetensors"))
}

/// Why training cannot resume from its checkpoints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Unread(#[from] CheckpointError),
    #[error(
        "none of the checkpoints can be used:\n{problems}\nhint: make `{}` readable again or restore it, or delete it \
         to restart training from scratch",
        .folder.display()
    )]
    NoneWhole { folder: PathBuf, problems: String },
}

fn read(record_path: &Path) -> Result<Checkpoint, CheckpointError> {
    let record: Record = file_error::read_json(record_path)?;
    if record.format != FORMAT {
        return Err(CheckpointError::Format {
            found: record.format,
            known: FORMAT,
        });
    }
    Checkpoint::open(&record_path.with_extension("safetensors"), record.blake3)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn config() -> NetworkConfig {
        serde_json::from_value(serde_json::json!({
            "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 8,
            "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "dropout": 0.0, "sigma_data": 0.5
        }))
        .unwrap()
    }

    fn save(checkpoints: &Checkpoints, step: u64, value: f64) {
        let mut state = State::new(100);
        state.position.step = step;
        let tensor = Tensor::full([2], value, (Kind::Float, tch::Device::Cpu));
        let tensors = [("x".to_owned(), tensor)];
        checkpoints.save(&tensors, &config(), &state).unwrap();
    }

    fn newest(checkpoints: &Checkpoints) -> (u64, f64) {
        let (found, _) = checkpoints.newest().unwrap();
        let found = found.unwrap();
        (
            found.state.position.step,
            found.tensors("").unwrap()["x"].double_value(&[0]),
        )
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let records = checkpoints.records().unwrap();
        records
            .iter()
            .map(|record| name(record).into_owned())
            .collect()
    }

    #[test]
    fn those_of_the_newest_two_steps_are_kept_and_unusable_ones_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let note = folder.path().join("decoding.json");
        std::fs::write(&note, "{}").unwrap();
        assert!(!checkpoints.is_any().unwrap());
        std::fs::remove_file(note).unwrap();
        for (step, value) in [(5, 1.0), (6, 2.0), (6, 3.0), (7, 4.0), (7, 5.0)] {
            save(&checkpoints, step, value);
            assert_eq!(newest(&checkpoints), (step, value));
        }
        let kept = [
            "checkpoint-000000006.01.json",
            "checkpoint-000000007.01.json",
        ];
        assert_eq!(names(&checkpoints), kept);
        assert_eq!(durable::list(folder.path()).unwrap().len(), 4);
        assert_eq!(checkpoints.listed_snapshots().unwrap().unwrap().len(), 2);

        let tensors = folder.path().join("checkpoint-000000007.01.safetensors");
        std::fs::write(&tensors, "x").unwrap();
        assert_eq!(newest(&checkpoints), (6, 3.0));
        // What was set aside is not written over, nor taken for a leftover; tensors without a record are one.
        save(&checkpoints, 7, 9.0);
        assert!(names(&checkpoints)[1].contains("7.02"));
        assert_eq!(std::fs::read(&tensors).unwrap(), b"x");
        assert!(checkpoints.forget_newest().unwrap());
        let leftover = folder.path().join("checkpoint-000000008.00.safetensors");
        std::fs::write(&leftover, "x").unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        assert!(tensors.exists() && !leftover.exists());
        // Older steps than the unusable one's are the newest now.
        save(&checkpoints, 3, 6.0);
        save(&checkpoints, 4, 7.0);
        assert_eq!(names(&checkpoints).len(), 2);
        assert!(checkpoints.forget_newest().unwrap());

        for record in checkpoints.records().unwrap() {
            std::fs::write(record, "{}").unwrap();
        }
        let refused = checkpoints.newest().err().unwrap().to_string();
        assert!(
            refused.contains("none of the checkpoints can be used"),
            "{refused}"
        );
    }
}
