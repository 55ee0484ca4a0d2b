//! Where pipelines and presets lie, and new files there.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use patchwork_core::{FileError, durable};

use super::preset;
use crate::error::CliError;
use crate::output::remark;

/// Where pipeline files lie.
pub(super) const PIPELINES: &str = "pipelines";

/// Where presets lie.
pub(super) const PRESETS: &str = "configs";

/// Where the file of a pipeline lies.
pub(super) fn path_of(name: &str) -> PathBuf {
    Path::new(PIPELINES).join(format!("{name}.toml"))
}

/// Writes a preset that the pipeline extends, where it is not there: outside of a checkout.
pub(super) fn install(name: &str) -> Result<(), CliError> {
    let path = Path::new(PRESETS).join(format!("{name}.toml"));
    if path.exists() {
        return Ok(());
    }
    durable::create_dir_all(Path::new(PRESETS))?;
    durable::write(&path, preset::text(name).as_bytes())?;
    remark(&format!("wrote the preset `{}`", path.display()));
    Ok(())
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    durable::create_dir_all(Path::new(PIPELINES))?;
    let failed = |source| FileError::new("write", path, source);
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            let written = file.write_all(bytes).and_then(|()| file.sync_all());
            if let Err(source) = written {
                let error = failed(source);
                durable::remove_file(path)?;
                return Err(error.into());
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CliError::PipelineThere {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error).into()),
    }
}
