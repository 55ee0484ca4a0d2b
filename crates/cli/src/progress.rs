//! A run as it is watched: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::status::StageStatus;
use patchwork_supervisor::StageResult;
use patchwork_supervisor::observer::{Observer, Recording, Update};

use crate::output::lines::{printable, remark};
use crate::output::moments::duration;

/// Shows a run to a person, on the thread that calls it.
pub(crate) fn view() -> Box<dyn Observer> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars {
            all: MultiProgress::new(),
            stages: BTreeMap::new(),
        })
    } else {
        Box::new(Lines {
            stages: BTreeMap::new(),
        })
    }
}

/// The progress of a command that works by itself, on a terminal; nothing elsewhere.
pub(crate) struct Bar(ProgressBar);

/// Starts a bar; `unit` is what it counts.
pub(crate) fn bar(unit: &'static str) -> Bar {
    if !std::io::stderr().is_terminal() {
        return Bar(ProgressBar::hidden());
    }
    let template = format!("{{bar:32}} {{pos}}/{{len}} {unit}  {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::new(0);
    bar.set_style(style.expect("the template names fields that exist"));
    Bar(bar)
}

impl Bar {
    /// Shows how far the work has come; it always continues.
    pub(crate) fn show(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
        ControlFlow::Continue(())
    }

    pub(crate) fn clear(self) {
        self.0.finish_and_clear();
    }
}

/// How fast a stage goes, leaving out what was done before this attempt.
struct Pace {
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            since: Instant::now(),
        }
    }

    /// `130 images/s, 4 min left`, once something can be said.
    fn text(&self, progress: &Progress) -> String {
        let done = progress.done.saturating_sub(progress.resumed) as f64;
        let seconds = self.since.elapsed().as_secs_f64();
        if done == 0.0 || seconds < 0.5 {
            return String::new();
        }
        let rate = done / seconds;
        let left = Duration::try_from_secs_f64(
            (progress.total - progress.done.min(progress.total)) as f64 / rate,
        )
        .unwrap_or(Duration::MAX);
        let digits = usize::from(rate < 10.0);
        format!(
            "{rate:.digits$} {}/s, {} left",
            progress.unit,
            duration(left)
        )
    }
}

fn ended(result: &StageResult) -> String {
    let mut text = format!("{:<12} {}", result.stage, result.status);
    if result.duration > Duration::ZERO {
        text = format!("{text} in {}", duration(result.duration));
    }
    if let Some(report) = report(result) {
        text = format!("{text}: {report}");
    }
    for (position, cause) in result.error.iter().enumerate() {
        text.push_str(match (position, result.status) {
            (0, StageStatus::Interrupted) => "\n  ",
            (0, _) => "\n  error: ",
            (_, _) => "\n  caused by: ",
        });
        text.push_str(cause);
    }
    if result.status != StageStatus::Interrupted && !result.error.is_empty() {
        text = format!("{text}\n  log: {}", result.log.display());
    }
    text
}

/// What a finished stage did, in one line.
fn report(result: &StageResult) -> Option<&str> {
    result.outcome.as_ref()?.summary.get("report")?.as_str()
}

/// What is said in the same words on a terminal and elsewhere.
fn remark_of(update: &Update) -> Option<String> {
    match update {
        Update::RunStarted { run } => Some(format!("run {run}")),
        Update::StageWaiting { stage } => Some(format!(
            "{stage:<12} another process computes the same artifact: waiting for it"
        )),
        Update::StageWarning { stage, message } => Some(format!("{stage:<12} warning: {message}")),
        Update::StageRetried { stage, cause } => {
            Some(format!("{stage:<12} failed ({cause}): retrying"))
        }
        Update::Recording(recording) => Some(recording_remark(recording)),
        Update::Stopping => Some(
            "stopping: stages save their work and end; a second signal ends them at once"
                .to_owned(),
        ),
        Update::StageEnded { result } => Some(ended(result)),
        Update::StageStarted { .. } | Update::StageProgress { .. } => None,
    }
}

fn recording_remark(recording: &Recording) -> String {
    match recording {
        Recording::Fails { cause } => format!(
            "warning: events cannot be recorded ({cause}); stages continue, retrying every second"
        ),
        Recording::Refuses { cause } => {
            format!("warning: an event cannot be recorded and is skipped ({cause})")
        }
        Recording::Works { lost: 0 } => "the events since then are recorded".to_owned(),
        Recording::Works { lost } => {
            format!("events are recorded, except {lost} that were too many to keep or refused")
        }
    }
}

struct Bars {
    all: MultiProgress,
    stages: BTreeMap<String, (ProgressBar, Pace)>,
}

impl Observer for Bars {
    fn update(&mut self, update: Update) {
        match &update {
            Update::StageStarted { stage, .. } => {
                let bar = self.all.add(ProgressBar::new(0));
                bar.set_style(
                    ProgressStyle::with_template("{prefix:<12} {bar:32} {pos}/{len} {msg}")
                        .expect("the template names fields that exist"),
                );
                bar.set_prefix(stage.clone());
                self.stages.insert(stage.clone(), (bar, Pace::new()));
            }
            Update::StageProgress { stage, progress } => {
                if let Some((bar, pace)) = self.stages.get(stage) {
                    bar.set_length(progress.total);
                    bar.set_position(progress.done);
                    let message = format!("{}  {}", pace.text(progress), progress.note);
                    bar.set_message(printable(&message).into_owned());
                }
            }
            Update::StageEnded { result } => {
                if let Some((bar, _)) = self.stages.remove(&result.stage) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(text) = remark_of(&update) {
            // Printed above the bars.
            let _ = self.all.println(printable(&text));
        }
    }
}

struct Lines {
    stages: BTreeMap<String, (Pace, Instant)>,
}

impl Observer for Lines {
    fn update(&mut self, update: Update) {
        const INTERVAL: Duration = Duration::from_secs(15);
        match &update {
            Update::StageStarted { stage, attempt } => {
                self.stages
                    .insert(stage.clone(), (Pace::new(), Instant::now()));
                let attempt = if *attempt > 1 {
                    format!(", attempt {attempt}")
                } else {
                    String::new()
                };
                remark(&format!("{stage:<12} started{attempt}"));
            }
            Update::StageProgress { stage, progress } => {
                if let Some((pace, last)) = self.stages.get_mut(stage)
                    && last.elapsed() >= INTERVAL
                {
                    *last = Instant::now();
                    remark(&format!(
                        "{stage:<12} {}/{} {}  {}",
                        progress.done,
                        progress.total,
                        pace.text(progress),
                        progress.note
                    ));
                }
            }
            _ => {}
        }
        if let Some(text) = remark_of(&update) {
            remark(&text);
        }
    }
}
