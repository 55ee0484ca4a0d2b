//! `patchwork init`: the first pipeline file for a set of pictures.
//!
//! `findings` looks at the pictures, `questions` asks what is not on the command line, `preset` and `plan` choose the
//! settings, `measure` has the worker do some steps, `file` writes it all down with its reasons.

mod file;
mod findings;
mod measure;
mod plan;
mod preset;
mod questions;
mod source;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use patchwork_core::{FileError, durable};

use crate::arguments::{Arguments, InitArguments};
use crate::error::CliError;
use crate::output::{line, remark};
use findings::Findings;
use plan::Plan;
use questions::Answers;

/// Where pipeline files lie.
const PIPELINES: &str = "pipelines";

/// Where presets lie.
const PRESETS: &str = "configs";

pub(crate) fn init(arguments: &Arguments, init: &InitArguments) -> Result<(), CliError> {
    let source = source::chosen(init.source.as_deref())?;
    let found = Findings::of(&source, &arguments.home)?;
    for told in found.told() {
        remark(&told);
    }
    let answers = Answers::of(init, &found)?;
    let path = path_of(&answers.name);
    let mut plan = Plan::of(&found, &answers, arguments);
    for name in preset::chain(plan.preset) {
        install(name)?;
    }
    let measured = match measure::measure(&found, &answers, &plan) {
        Ok(measured) => Some(measured),
        Err(problem) if init.minutes.is_some() => return Err(problem),
        Err(problem) => {
            remark(&format!(
                "the speed of training could not be measured, so that the file gives no expected time: {problem}"
            ));
            None
        }
    };
    plan.set_pace(measured.as_ref(), init.minutes);
    let text = file::text(&found, &answers, &plan);
    write_new(&path, text.as_bytes())?;
    remark(&next_step(&path, &answers.name, &plan));
    line(&path.display().to_string())
}

fn path_of(name: &str) -> PathBuf {
    Path::new(PIPELINES).join(format!("{name}.toml"))
}

/// Writes a preset that the pipeline extends, where it is not there: outside of a checkout.
fn install(name: &str) -> Result<(), CliError> {
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
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
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

fn next_step(path: &Path, name: &str, plan: &Plan) -> String {
    let time = match plan.expected_seconds {
        Some(seconds) => format!(", in about {} by the estimate", plan::about(seconds)),
        None => String::new(),
    };
    let run = format!("patchwork run {}", path.display());
    let first = if Path::new("justfile").is_file() {
        format!("`just pipeline {name}`, or `{run}`,")
    } else {
        format!("`{run}`")
    };
    format!(
        "next: {first} trains on these images{time}; every setting in the file is yours to change"
    )
}
