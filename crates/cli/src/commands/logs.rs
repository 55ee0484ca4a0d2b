//! `patchwork logs`: what the workers of a run printed.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchwork_artifacts::status::RunStatus;
use patchwork_core::name::is_plain;
use patchwork_core::{FileError, file_error};
use patchwork_registry::Registry;

use crate::arguments::LogsArguments;
use crate::error::CliError;
use crate::output::line;

pub(crate) async fn logs(home: &Path, arguments: &LogsArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let detail = registry.run(&arguments.run).await?;
    let folder = home.join("logs").join(&detail.run.name);
    let mut logs: Vec<Log> = detail
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        // A name is a part of the log's path, and a registry of another machine may hold any.
        .filter(|name| is_plain(name) && is_plain(&detail.run.name))
        .filter(|name| arguments.stage.as_ref().is_none_or(|wanted| wanted == name))
        .map(|stage| Log::new(&folder, stage))
        .collect();
    let is_one = arguments.stage.is_some();
    if is_one && !arguments.follow && !logs.iter().any(|log| log.path.is_file()) {
        let wanted = arguments.stage.iter().next().map_or("", String::as_str);
        return Err(CliError::NoLog(
            Log::new(&folder, wanted).path.display().to_string(),
        ));
    }
    let mut printer = Printer {
        headings: !is_one,
        last: None,
    };
    let mut is_running = detail.run.status == RunStatus::Running;
    loop {
        for log in &mut logs {
            printer.print(log, !is_running)?;
        }
        if !arguments.follow || !is_running {
            return Ok(());
        }
        tokio::time::sleep(INTERVAL).await;
        // What is written up to the run's end is printed in the next round.
        is_running = registry.run(&detail.run.name).await?.run.status == RunStatus::Running;
    }
}

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_millis(300);

/// A log and how much of it is printed.
struct Log {
    stage: String,
    path: PathBuf,
    printed: u64,
}

impl Log {
    fn new(folder: &Path, stage: &str) -> Self {
        Self {
            stage: stage.to_owned(),
            path: folder.join(format!("{stage}.log")),
            printed: 0,
        }
    }

    /// The lines that are new; with `to_the_end` also a last one that is not complete.
    fn new_lines(&mut self, to_the_end: bool) -> Result<String, FileError> {
        let mut file = match file_error::open(&self.path) {
            Err(error) if error.is_not_found() => return Ok(String::new()),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.printed))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|source| FileError::new("read the log", &self.path, source))?;
        if !to_the_end {
            let complete = bytes
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            bytes.truncate(complete);
        }
        self.printed += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

struct Printer {
    headings: bool,
    /// The stage whose lines came last.
    last: Option<String>,
}

impl Printer {
    fn print(&mut self, log: &mut Log, to_the_end: bool) -> Result<(), CliError> {
        let text = log.new_lines(to_the_end)?;
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(());
        }
        if self.headings && self.last.as_ref() != Some(&log.stage) {
            line(&format!("== {}", log.stage))?;
            self.last = Some(log.stage.clone());
        }
        line(text)
    }
}
