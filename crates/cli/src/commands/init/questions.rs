//! Name, resolution and device: from the command line, from a person at a terminal, or by default.

use std::io::{IsTerminal, stderr, stdin};
use std::path::Path;

use patchwork_core::name::{PLAIN, is_plain};

use super::findings::Findings;
use super::places::path_of;
use super::{preset, source};
use crate::arguments::InitArguments;
use crate::error::CliError;
use crate::gpu::has_nvidia_gpu;
use crate::output::{prompt, remark};
use crate::worker_program;

/// What has to be known before settings are chosen.
pub(super) struct Answers {
    /// Of the pipeline; no file of it exists.
    pub(super) name: String,
    /// Width and height of the images in pixels.
    pub(super) resolution: u32,
    /// `cpu`, `cuda` or `cuda:N`.
    pub(super) device: String,
}

impl Answers {
    /// Asks at most three questions, and none where nobody is at a terminal.
    pub(super) fn of(init: &InitArguments, found: &Findings) -> Result<Self, CliError> {
        let asks = stdin().is_terminal() && stderr().is_terminal();
        let name = answer(
            Question {
                option: "name",
                text: "name of the pipeline",
                typed: init.name.as_deref(),
                default: &source::pipeline_name(&found.source),
            },
            asks,
            |text| {
                if is_plain(text) {
                    Ok(())
                } else {
                    Err(format!("is `{text}`; {PLAIN}"))
                }
            },
        )?;
        let path = path_of(&name);
        if path.symlink_metadata().is_ok() {
            return Err(CliError::PipelineThere { path });
        }
        let device = answer(
            Question {
                option: "device",
                text: "device, such as cpu or cuda:0",
                typed: init.device.as_deref(),
                default: usual_device(),
            },
            asks,
            check_device,
        )?;
        let resolution = answer(
            Question {
                option: "resolution",
                text: "resolution in pixels",
                typed: init.resolution.map(|side| side.to_string()).as_deref(),
                default: &preset::suiting_resolution(found.median_side(), &device).to_string(),
            },
            asks,
            |text| preset::resolution(text).map(|_| ()),
        )?;
        Ok(Self {
            name,
            resolution: preset::resolution(&resolution)
                .expect("an answer was checked when it was given"),
            device,
        })
    }
}

#[derive(Clone, Copy)]
struct Question<'a> {
    /// The option that answers it.
    option: &'static str,
    text: &'static str,
    /// What was typed with that option.
    typed: Option<&'a str>,
    default: &'a str,
}

fn answer(
    question: Question<'_>,
    asks: bool,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, CliError> {
    let Question {
        option,
        text,
        typed,
        default,
    } = question;
    if let Some(typed) = typed {
        return match check(typed) {
            Ok(()) => Ok(typed.to_owned()),
            Err(problem) => Err(CliError::Answer { option, problem }),
        };
    }
    if !asks {
        return Ok(default.to_owned());
    }
    loop {
        prompt(&format!("{text} [{default}]:"));
        let mut line = String::new();
        if stdin().read_line(&mut line).map_err(CliError::Question)? == 0 {
            return Err(CliError::NoAnswer);
        }
        let typed = match line.trim() {
            "" => default,
            typed => typed,
        };
        match check(typed) {
            Ok(()) => return Ok(typed.to_owned()),
            Err(problem) => remark(&format!("the {option} {problem}")),
        }
    }
}

/// The first GPU, where libtorch sees one.
fn usual_device() -> &'static str {
    let sees_one = || {
        let worker = worker_program::path().ok()?;
        let probe = worker_program::probe(&worker).ok()?;
        (probe.cuda_devices > 0).then_some(())
    };
    if has_nvidia_gpu(Path::new("/")) && sees_one().is_some() {
        "cuda:0"
    } else {
        "cpu"
    }
}

fn check_device(text: &str) -> Result<(), String> {
    let number = text.strip_prefix("cuda:").map(str::parse::<u16>);
    if text == "cpu" || text == "cuda" || matches!(number, Some(Ok(_))) {
        Ok(())
    } else {
        Err(format!(
            "is `{text}`; a device is `cpu`, `cuda` or `cuda:0`"
        ))
    }
}
