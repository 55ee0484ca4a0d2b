//! `patchwork init`: the first pipeline file for a set of pictures.
//!
//! `findings` looks at the pictures, `questions` asks what is not on the command line, `preset` and `plan` choose the
//! settings, `measure` has the worker do some steps, `file` writes it all down with its reasons, `places` says where.

mod file;
mod findings;
mod measure;
mod pace;
mod places;
mod plan;
mod preset;
mod questions;
mod setting;
mod source;

use std::path::Path;

use crate::arguments::{Arguments, InitArguments};
use crate::error::CliError;
use crate::output::{line, remark};
use findings::Findings;
use places::{install, path_of, write_new};
use plan::Plan;
use questions::Answers;

pub(crate) fn init(arguments: &Arguments, init: &InitArguments) -> Result<(), CliError> {
    let source = source::chosen(init.source.as_deref())?;
    let found = Findings::of(&source, &arguments.home)?;
    for text in found.report() {
        remark(&text);
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
