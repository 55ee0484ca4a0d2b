//! The home folder of work on files outside of any home, beside what it makes: marked as ours, and removed at the end.

use std::path::Path;

use patchwork_artifacts::Store;
use patchwork_core::{FileError, WorkFolder};

use crate::error::CliError;

/// The folder in which stages on files keep their inputs, beside what every home has.
pub(super) const INPUTS: &str = "given";

pub(super) struct Workplace {
    /// None once it is removed.
    folder: Option<WorkFolder>,
    /// Whether there is something in it that is worth to be kept.
    has_work: bool,
}

impl Workplace {
    /// Takes the folder at `home`, new or left by an earlier attempt.
    pub(super) fn open(home: &Path) -> Result<Self, CliError> {
        let folder = WorkFolder::claim(home, |name| name == INPUTS || Store::is_entry(name))?;
        Ok(Self {
            has_work: !folder.is_new(),
            folder: Some(folder),
        })
    }

    pub(super) fn home(&self) -> &Path {
        let folder = self.folder.as_ref();
        folder.expect("it is there until it is removed").path()
    }

    /// From here on what is in it stays, also where the command fails.
    pub(super) fn begin(&mut self) {
        self.has_work = true;
    }

    /// Removes it; gives a remark where something in it is not ours.
    pub(super) fn remove(mut self) -> Result<Option<String>, FileError> {
        let Some(folder) = self.folder.take() else {
            return Ok(None);
        };
        let home = folder.path().to_owned();
        let others = folder.remove()?;
        Ok(others.first().map(|first| {
            format!(
                "`{}` is kept: {} files in it are not patchwork's, such as `{}`",
                home.display(),
                others.len(),
                first.display()
            )
        }))
    }
}

impl Drop for Workplace {
    /// What is refused before it begins leaves nothing behind.
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take_if(|_| !self.has_work) {
            // The refusal is the error to report.
            let _ = folder.remove();
        }
    }
}
