//! The one place that starts workers and follows them to their end. What a worker is started through is known to nobody
//! else: a process of this machine (`process`), several as ranks (`local`), or ranks that a launcher such as Slurm's `srun`
//! starts, on other machines too (`launched`, with `rank` at the other end of `link`).

mod ends;
mod launched;
mod leftovers;
mod link;
mod local;
mod process;
mod rank;

use std::path::Path;
use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::Job;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use self::ends::Ends;
use self::launched::Launched;
use self::leftovers::attempt_name;
use self::local::Local;
use crate::error::PipelineError;

pub use self::leftovers::remove_leftovers;
pub(crate) use self::leftovers::{leftovers, remove};
pub use self::rank::{RankError, work_as_rank};

/// How hard the workers are asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stop {
    /// Not at all.
    Continue,
    /// At their next durable point.
    AtNextPoint,
    /// At once.
    AtOnce,
}

/// How an attempt ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AttemptEnd {
    Finished {
        cached: bool,
        outcome: Outcome,
    },
    Interrupted {
        cause: Option<String>,
    },
    Failed {
        chain: Vec<String>,
        transient: bool,
        exit: String,
    },
}

/// A started worker: a process, or several that work on one job as its ranks.
pub(crate) struct Worker {
    started: Started,
    /// The process that reports, or the launcher's.
    pub(crate) pid: u32,
}

enum Started {
    Local(Local),
    Launched(Launched),
}

impl Worker {
    /// Starts a worker on a job, in as many processes as it has ranks. What they print goes to the end of the log file.
    pub(crate) async fn start(
        program: &Path,
        job: &Job,
        log: &Path,
    ) -> Result<Self, PipelineError> {
        let name = attempt_name(job);
        Ok(match job.execution["launch"].as_str() {
            None => {
                let local = Local::start(program, job, &name, log).await?;
                Self {
                    pid: local.pid(),
                    started: Started::Local(local),
                }
            }
            Some(command) => {
                let launched = Launched::start(command, program, job, &name, log)?;
                Self {
                    pid: launched.pid,
                    started: Started::Launched(launched),
                }
            }
        })
    }

    /// Passes on what the worker of a stage says until it ends; gives the stage and how it ended.
    ///
    /// `stop` ends it earlier, as does `timeout`. A rank that fails ends all others. A worker of this machine that was asked to
    /// stop by somebody else has failed in a way that may pass; ranks that a launcher has started are told by it, as when an
    /// allocation ends.
    pub(crate) async fn follow(
        self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
        timeout: Option<Duration>,
    ) -> (usize, AttemptEnd) {
        const GRACE: Duration = Duration::from_mins(1);
        let (wishes, wished) = watch::channel(Stop::Continue);
        let (ended, mut endings) = mpsc::channel(16);
        let (is_one_of_several, is_local, sight) = match &self.started {
            Started::Local(local) => (local.ranks() > 1, true, Duration::from_millis(500)),
            // What they say comes by files.
            Started::Launched(_) => (true, false, Duration::from_secs(3)),
        };
        let working = match self.started {
            Started::Local(local) => tokio::spawn(local.follow(stage, messages, wished, ended)),
            Started::Launched(launched) => {
                tokio::spawn(launched.follow(stage, messages, wished, ended))
            }
        };
        let wish = |wish: Stop| {
            wishes.send_if_modified(|wished| {
                let is_more = wish > *wished;
                *wished = Stop::max(*wished, wish);
                is_more
            });
        };
        let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let mut timed_out = false;
        let mut kill_at: Option<tokio::time::Instant> = None;
        let mut ends = Ends::new(sight);
        loop {
            wish(*stop.borrow_and_update());
            tokio::select! {
                end = endings.recv() => match end {
                    None => break,
                    Some(end) => {
                        ends.add(end);
                        if let Some(patience) = ends.patience() {
                            // A launcher that loses a rank interrupts the others: that is not a wish.
                            if ends.is_done() || (is_local && ends.is_interrupted()) {
                                wish(Stop::AtNextPoint);
                            }
                            let moment = tokio::time::Instant::now() + patience;
                            kill_at = Some(kill_at.map_or(moment, |earlier| earlier.min(moment)));
                        }
                    }
                },
                Ok(()) = stop.changed() => {}
                () = sleep_until(deadline), if !timed_out => {
                    timed_out = true;
                    kill_at = Some(tokio::time::Instant::now() + GRACE);
                    wish(Stop::AtNextPoint);
                }
                () = sleep_until(kill_at), if kill_at.is_some() => {
                    kill_at = None;
                    ends.are_killed = true;
                    wish(Stop::AtOnce);
                }
            }
        }
        working.await.expect("following a worker does not panic");
        let end = match (timed_out, timeout, ends.verdict(is_one_of_several)) {
            (true, Some(timeout), AttemptEnd::Interrupted { .. } | AttemptEnd::Failed { .. }) => {
                AttemptEnd::Failed {
                    chain: vec![format!(
                        "stopped after its timeout of {:.1} minutes; run again to resume it",
                        timeout.as_secs_f64() / 60.0
                    )],
                    transient: false,
                    exit: "timeout".to_owned(),
                }
            }
            (false, _, AttemptEnd::Interrupted { cause: None })
                if is_local && !is_wished(&mut stop).await =>
            {
                AttemptEnd::Failed {
                    chain: vec![
                        "the worker was asked to stop by another process than its supervisor, such as `kill` or earlyoom"
                            .to_owned(),
                    ],
                    transient: true,
                    exit: "interrupted".to_owned(),
                }
            }
            (_, _, end) => end,
        };
        (stage, end)
    }
}

/// Has a worker do a job that no plan has, within a time; gives what it found, or why it failed, outermost cause first.
///
/// # Errors
/// What keeps the worker from its start.
pub async fn carry_out(
    program: &Path,
    job: &Job,
    log: &Path,
    timeout: Duration,
) -> Result<Result<Outcome, Vec<String>>, PipelineError> {
    let worker = Worker::start(program, job, log).await?;
    let (messages, mut inbox) = mpsc::channel(16);
    // Nobody asks for its progress.
    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    let (_stop, stopped) = watch::channel(Stop::Continue);
    let (_, end) = worker.follow(0, messages, stopped, Some(timeout)).await;
    Ok(match end {
        AttemptEnd::Finished { outcome, .. } => Ok(outcome),
        AttemptEnd::Interrupted { cause } => {
            Err(vec![cause.unwrap_or_else(|| "interrupted".to_owned())])
        }
        AttemptEnd::Failed { chain, .. } => Err(chain),
    })
}

/// Whether the worker is to stop. What is sent to a whole group of processes may come to the worker first.
async fn is_wished(stop: &mut watch::Receiver<Stop>) -> bool {
    const SAME_WISH: Duration = Duration::from_secs(2);
    let wished = stop.wait_for(|wished| *wished > Stop::Continue);
    matches!(tokio::time::timeout(SAME_WISH, wished).await, Ok(Ok(_)))
}

async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
