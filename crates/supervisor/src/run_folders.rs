//! The folders of runs below `logs/`: which names they take, and the run records that they hold.
//!
//! What lies there may have been copied, renamed or damaged since; a folder counts as a run's only where its record
//! says that it is this run's. Links are not followed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchwork_artifacts::Store;
use patchwork_core::{FileError, durable, name};

use crate::run_folder::{has_records, read_records};
use crate::run_records::RunRecords;

/// Run folders as they were found.
#[derive(Debug, Default)]
pub struct RunFolders {
    /// Those that can be read, in the order in which the runs started.
    pub readable: Vec<RunFolder>,
    /// Those that cannot be entered in a registry.
    pub unusable: Vec<UnusableRun>,
}

/// A run's folder with its record.
#[derive(Debug)]
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// What it records.
    pub run: RunRecords,
}

/// A folder that holds a run record that cannot be used.
#[derive(Clone, Debug)]
pub struct UnusableRun {
    /// The folder.
    pub path: PathBuf,
    /// The run that it is of, as far as that is known.
    pub run: String,
    /// What is wrong.
    pub problem: String,
}

impl RunFolders {
    /// Reads the records of all folders but those called as in `known`.
    pub fn read(store: &Store, known: &BTreeSet<String>) -> Result<Self, FileError> {
        let mut found = Self::default();
        for path in durable::list(&store.home().join("logs"))? {
            let Some(name) = name_of(&path) else { continue };
            let is_no_folder = (path.symlink_metadata()).is_ok_and(|entry| !entry.is_dir());
            if known.contains(name) || is_no_folder || !has_records(&path) {
                continue;
            }
            let unusable = |run: &str, problem: String| UnusableRun {
                path: path.clone(),
                run: run.to_owned(),
                problem,
            };
            match read_records(&path) {
                Err(error) => found.unusable.push(unusable(name, error.to_string())),
                Ok(run) if run.start.run != name => {
                    let run = &run.start.run;
                    let problem = format!("its record is that of run `{run}`");
                    found.unusable.push(unusable(run, problem));
                }
                Ok(run) => match run.check_names() {
                    Ok(()) => found.readable.push(RunFolder {
                        path: path.clone(),
                        run,
                    }),
                    Err(problem) => found.unusable.push(unusable(name, problem)),
                },
            }
        }
        found.readable.sort_by_key(|folder| folder.run.started);
        Ok(found)
    }
}

/// The lowest number for a run of a pipeline that is above that of everything in `logs/`, whatever it is.
pub(crate) fn least_free_number(store: &Store, pipeline: &str) -> Result<i64, FileError> {
    let taken = durable::list(&store.home().join("logs"))?
        .iter()
        .filter_map(|path| name::run_number(name_of(path)?, pipeline))
        .max();
    Ok(taken.map_or(1, |number| i64::from(number) + 1))
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
