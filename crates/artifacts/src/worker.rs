//! The worker's side: one process that makes one artifact.
//!
//! The worker holds the lock of its fingerprint, fills `work/<fingerprint>/artifact/`, keeps what it needs to
//! resume after a crash in `work/<fingerprint>/state/`, and publishes by one rename.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, durable};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::event::{Event, Progress};
pub use crate::event_pipe::EVENT_DESCRIPTOR;
use crate::event_pipe::EventPipe;
use crate::failure::{chain, may_pass, says_it_may_pass};
use crate::lifeline;
use crate::manifest::{MANIFEST_FORMAT, Manifest, Outcome, list_files};
use crate::presence::Presence;
use crate::protocol::{Job, Place};
use crate::resources;
use crate::signals::is_hangup_ignored;
use crate::store::Store;
use crate::unfinished;

/// The exit code of a worker that stopped because it was asked to.
const EXIT_INTERRUPTED: u8 = 130;

/// How long a stage may take to its next durable point when its supervisor is gone. Whoever wants the same artifact waits for
/// the fingerprint's lock meanwhile.
const SUPERVISOR_LOST: Duration = Duration::from_mins(1);

/// Why a stage gave nothing.
#[derive(Debug)]
pub enum StageError {
    /// It was asked to stop and can resume from its last durable point.
    Interrupted,
    /// It stopped for a reason of its own, such as a limit that it was given, and can resume likewise.
    Paused(String),
    /// It failed.
    Failed(Box<dyn Error + Send + Sync>),
}

impl<E: Error + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// What a stage is given besides its job.
pub struct Context {
    artifact: PathBuf,
    state: PathBuf,
    events: EventPipe,
    interrupted: Arc<AtomicBool>,
    last_progress: Mutex<Option<Instant>>,
    last_resources: Mutex<Instant>,
    /// What a rank beside rank 0 holds while it writes.
    share: OnceLock<(FileLock, Presence)>,
}

impl Context {
    fn new(work: &Path, events: EventPipe, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            artifact: work.join("artifact"),
            state: work.join("state"),
            events,
            interrupted,
            last_progress: Mutex::new(None),
            last_resources: Mutex::new(Instant::now()),
            share: OnceLock::new(),
        }
    }

    /// The folder whose content becomes the artifact. What an earlier attempt left is still there.
    pub fn artifact(&self) -> &Path {
        &self.artifact
    }

    /// The folder for checkpoints and the like, removed once the artifact is published.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether the stage should stop at its next durable point, with [`StageError::Interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Reports how far the stage is: the first and the last report always, others ten times a second at most.
    pub fn progress(&self, progress: Progress) {
        const INTERVAL: Duration = Duration::from_millis(100);
        let mut last = self
            .last_progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due || progress.done == progress.total {
            *last = Some(Instant::now());
            self.events.send(&Event::Progress(progress));
        }
        drop(last);
        self.report_resources();
    }

    /// Reports now and then what the process uses, so that it is known of one that is killed.
    fn report_resources(&self) {
        let mut last = self
            .last_resources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= resources::INTERVAL {
            *last = Instant::now();
            if let Some(report) = resources::report() {
                self.events.send(&report);
            }
        }
    }

    /// Reports a measurement at a step.
    pub fn metric(&self, name: &str, step: u64, value: f64) {
        self.events.send(&Event::Metric {
            name: name.to_owned(),
            step,
            value,
        });
    }

    /// Says from which step the stage resumes, so that measurements of later ones by an earlier attempt are dropped.
    pub fn resumed(&self, step: u64) {
        self.events.send(&Event::Resumed { step });
    }

    /// Of a rank beside rank 0: takes the share of a lock that says until its end that it writes, and shows rank 0, which
    /// waits for what it writes, that it is alive.
    pub fn begin_to_write(&self, place: &Place) -> Result<(), FileError> {
        let share = FileLock::acquire_shared(&self.ranks_lock())?;
        // It holds it already, otherwise.
        let _ = self.share.set((share, Presence::show(place)));
        Ok(())
    }

    /// Of rank 0: waits for ranks of an earlier attempt that have not noticed its end, and could write what those of this
    /// one do. A wait of more than some seconds is reported.
    ///
    /// # Errors
    /// When this process is asked to stop.
    pub fn wait_for_earlier_ranks(&self) -> Result<(), StageError> {
        const UNREPORTED: Duration = Duration::from_secs(2);
        const PATIENCE: Duration = Duration::from_mins(1);
        let begin = Instant::now();
        let mut is_reported = false;
        while FileLock::try_acquire(&self.ranks_lock())?.is_none() {
            if self.is_interrupted() {
                return Err(StageError::Interrupted);
            }
            if begin.elapsed() > UNREPORTED && !is_reported {
                is_reported = true;
                self.warn("a rank of an earlier attempt has not ended yet: waiting for it");
            }
            if begin.elapsed() > PATIENCE {
                self.warn(format!(
                    "a rank of an earlier attempt has not ended in {:.0} s: continuing beside it",
                    PATIENCE.as_secs_f64()
                ));
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn ranks_lock(&self) -> PathBuf {
        self.artifact.with_file_name("ranks.lock")
    }

    /// Ends this process at once as a failure that may pass, from whatever thread: for work that hangs.
    pub fn abandon(&self, cause: String) -> ! {
        self.events.send_if_possible(Event::Failed {
            chain: vec![cause],
            transient: true,
        });
        loop {
            lifeline::kill_this_process();
        }
    }

    /// Reports something that a person should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.events.send_if_possible(Event::warning(message));
    }
}

/// Runs one job from standard input with a stage's function, and publishes what it made. What `check` refuses is not begun.
pub fn run(
    check: impl Fn(&Job) -> Result<(), StageError>,
    stage: impl Fn(&Job, &Context) -> Result<Outcome, StageError>,
) -> ExitCode {
    let events = match EventPipe::open() {
        Ok(events) => events,
        Err(error) => {
            // There is nobody to report to but whoever started this process by hand.
            let _ = writeln!(
                io::stderr(),
                "a worker is started by `patchwork run`: {error}"
            );
            return ExitCode::from(2);
        }
    };
    report_panics(events.clone());
    let ended = attempt(check, stage, &events);
    if let Some(report) = resources::report() {
        events.send(&report);
    }
    match ended {
        Ok(event) => {
            events.send(&event);
            ExitCode::SUCCESS
        }
        Err(StageError::Interrupted) => {
            events.send(&Event::Interrupted { cause: None });
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(StageError::Paused(cause)) => {
            events.send(&Event::Interrupted { cause: Some(cause) });
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(StageError::Failed(error)) => {
            let chain = chain(error.as_ref());
            let _ = writeln!(io::stderr(), "error: {}", chain.join("\n  caused by: "));
            events.send(&Event::Failed {
                transient: may_pass(error.as_ref()),
                chain,
            });
            ExitCode::FAILURE
        }
    }
}

fn attempt(
    check: impl Fn(&Job) -> Result<(), StageError>,
    stage: impl Fn(&Job, &Context) -> Result<Outcome, StageError>,
    events: &EventPipe,
) -> Result<Event, StageError> {
    let job: Job = serde_json::from_str(&lifeline::read_request()?)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let lost = Arc::clone(&interrupted);
    lifeline::watch(SUPERVISOR_LOST, move || lost.store(true, Ordering::Relaxed));
    check(&job)?;
    let hangup = (!is_hangup_ignored()).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let store = Store::open(&job.home)?;
    let _alive = store.announce_process()?;
    if !job.is_first() {
        return beside_rank_0(stage, &job, &store, events, interrupted);
    }
    let _present = job.place.as_ref().map(Presence::show);
    let _lock = wait_for_lock(&store.lock(job.fingerprint), &interrupted, events)?;
    if let Some(manifest) = store.find(&job.kind, job.fingerprint)? {
        return Ok(Event::Finished {
            cached: true,
            outcome: manifest.outcome,
        });
    }
    let work = store.work(job.fingerprint);
    let context = Context::new(&work, events.clone(), interrupted);
    make_room(&store, &job, &context)?;
    for folder in [&context.artifact, &context.state] {
        durable::create_dir_all(folder)?;
        durable::remove_partials(folder)?;
    }
    if let Some(warning) = unfinished::note(&job, &work)? {
        context.warn(warning);
    }
    let outcome = stage(&job, &context)?;
    check_scores(&outcome)?;
    make_room(&store, &job, &context)?;
    publish(&store, &job, &context.artifact, outcome.clone())?;
    // The artifact is in place; `gc` finds what is left.
    let cleared = durable::remove_dir_all(&work).and(store.remove_replaced(job.fingerprint));
    if let Err(error) = cleared {
        context.warn(format!(
            "the stage is finished, and what it worked on or replaced could not be removed: {error}"
        ));
    }
    Ok(Event::Finished {
        cached: false,
        outcome,
    })
}

/// Sets aside what is in the place of the artifact and is none: the rename that publishes would fail.
fn make_room(store: &Store, job: &Job, context: &Context) -> Result<(), FileError> {
    if let Some(warning) = store.set_aside_unusable(&job.kind, job.fingerprint)? {
        context.warn(warning);
    }
    Ok(())
}

/// What a rank beside rank 0 does: its part of the work. The lock, the folders and the artifact are rank 0's, which has to
/// be waited for ([`crate::presence`]) before anything is written there.
fn beside_rank_0(
    stage: impl Fn(&Job, &Context) -> Result<Outcome, StageError>,
    job: &Job,
    store: &Store,
    events: &EventPipe,
    interrupted: Arc<AtomicBool>,
) -> Result<Event, StageError> {
    let work = store.work(job.fingerprint);
    let context = Context::new(&work, events.clone(), interrupted);
    stage(job, &context).map(|outcome| Event::Finished {
        cached: false,
        outcome,
    })
}

/// A score that JSON has no word for, so that a manifest with it could not be read again.
#[derive(Debug, thiserror::Error)]
#[error("the score `{metric}` is {value}, which is non-finite: nothing is published")]
struct NoNumber {
    metric: String,
    value: f64,
}

fn check_scores(outcome: &Outcome) -> Result<(), NoNumber> {
    let wrong = outcome.scores.iter().find(|score| !score.value.is_finite());
    wrong.map_or(Ok(()), |score| {
        Err(NoNumber {
            metric: score.metric.clone(),
            value: score.value,
        })
    })
}

fn publish(store: &Store, job: &Job, artifact: &Path, outcome: Outcome) -> Result<(), FileError> {
    Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        kind: job.kind.clone(),
        fingerprint: job.fingerprint,
        format_version: job.format_version,
        settings: job.settings.clone(),
        source: job.source,
        inputs: job.inputs.iter().map(|input| input.input.clone()).collect(),
        files: list_files(artifact)?,
        outcome,
    }
    .write(artifact)?;
    let place = store.artifact(&job.kind, job.fingerprint);
    durable::create_dir_all(
        place
            .parent()
            .expect("an artifact lies in the folder of its kind"),
    )?;
    durable::publish_directory(artifact, &place)
}

fn wait_for_lock(
    path: &Path,
    interrupted: &AtomicBool,
    events: &EventPipe,
) -> Result<FileLock, StageError> {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut is_reported = false;
    loop {
        if let Some(lock) = FileLock::try_acquire(path)? {
            return Ok(lock);
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(StageError::Interrupted);
        }
        if !is_reported {
            events.send(&Event::Waiting);
            is_reported = true;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Makes a panic, such as libtorch's errors raise, a failure with its message in the record.
fn report_panics(events: EventPipe) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let text = panic.to_string();
        events.send(&Event::Failed {
            chain: text.lines().map(str::to_owned).collect(),
            transient: says_it_may_pass(&text),
        });
    }));
}

#[cfg(test)]
mod tests;
