//! The one place that starts workers and follows them to their end. What a worker is started through, here a process of
//! this machine, is known to nobody else.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use command_fds::CommandFdExt;
use command_fds::FdMapping;
use patchwork_artifacts::Outcome;
use patchwork_artifacts::environment::{Environment, narrow};
use patchwork_artifacts::protocol::{Event, Job, Place};
use patchwork_artifacts::worker::EVENT_DESCRIPTOR;
use patchwork_core::FileError;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::error::PipelineError;

/// How hard the workers are asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Not at all.
    GoOn,
    /// At their next durable point.
    AtNextPoint,
    /// At once.
    AtOnce,
}

/// How an attempt ended.
#[derive(Debug)]
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
    processes: Vec<Process>,
    /// The process that reports: the only one, or rank 0.
    pub(crate) pid: u32,
    /// Where the ranks meet, removed with this.
    _meeting: Option<Meeting>,
}

/// A file by which the ranks of one attempt find each other, and no others.
struct Meeting(PathBuf);

impl Meeting {
    fn new(job: &Job) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let name = format!(
            "{}.rendezvous-{}-{}-{}.json",
            job.stage,
            std::process::id(),
            now.unwrap_or_default().as_nanos(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(job.logs.join(name))
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // One that is left is read by no later attempt.
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Process {
    rank: u32,
    child: Child,
    /// Held open: when it closes, the worker ends at its next durable point.
    _stdin: ChildStdin,
    events: tokio::net::unix::pipe::Receiver,
    pid: u32,
}

impl Worker {
    /// Starts a worker on a job, in as many processes as it has ranks. What they print goes to the end of the log file.
    pub(crate) async fn start(
        program: &Path,
        job: &Job,
        log: &Path,
    ) -> Result<Self, PipelineError> {
        let ranks = job.ranks();
        let meeting = (ranks > 1).then(|| Meeting::new(job));
        let mut processes = Vec::new();
        for rank in 0..ranks {
            let place = meeting.as_ref().map(|meeting| Place {
                rank,
                ranks,
                local_rank: rank,
                rendezvous: meeting.0.clone(),
            });
            let mut job = Job {
                place,
                ..job.clone()
            };
            // Each has a GPU of its own.
            if ranks > 1 && job.execution["device"] == "cuda" {
                job.execution["device"] = format!("cuda:{rank}").into();
            }
            // Those that have started already are killed where one cannot be.
            processes.push(Process::start(program, &job, rank, log).await?);
        }
        Ok(Self {
            pid: processes[0].pid,
            processes,
            _meeting: meeting,
        })
    }

    /// Passes on what the worker of a stage says until it ends; gives the stage and how it ended.
    ///
    /// `stop` ends it earlier, as does `timeout`. A rank that fails ends all others.
    pub(crate) async fn follow(
        self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
        timeout: Option<Duration>,
    ) -> (usize, AttemptEnd) {
        const GRACE: Duration = Duration::from_mins(1);
        let ranks = self.processes.len();
        let (wishes, wished) = watch::channel(Stop::GoOn);
        let mut working = JoinSet::new();
        for process in self.processes {
            working.spawn(process.follow(stage, messages.clone(), wished.clone()));
        }
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
        let mut ends = Ends::default();
        loop {
            wish(*stop.borrow_and_update());
            tokio::select! {
                ended = working.join_next() => match ended {
                    None => break,
                    Some(ended) => {
                        ends.add(ended.expect("listening to a process does not panic"));
                        if let Some(patience) = ends.patience() {
                            if ends.is_done() {
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
        drop(messages);
        let end = match (timed_out, timeout, ends.verdict(ranks)) {
            (true, Some(timeout), AttemptEnd::Interrupted { .. } | AttemptEnd::Failed { .. }) => {
                AttemptEnd::Failed {
                    chain: vec![format!(
                        "stopped after its timeout of {:.1} minutes; it goes on from there when run again",
                        timeout.as_secs_f64() / 60.0
                    )],
                    transient: false,
                    exit: "timeout".to_owned(),
                }
            }
            (_, _, end) => end,
        };
        (stage, end)
    }
}

/// How one process ended.
struct ProcessEnd {
    rank: u32,
    end: AttemptEnd,
    /// Whether it was ended by a signal and has said nothing of its end.
    was_killed: bool,
}

/// How the processes of a worker have ended so far, in the order of their ends.
#[derive(Default)]
struct Ends {
    ends: Vec<ProcessEnd>,
    /// Whether the rest are killed by the supervisor: their ends have no cause of their own.
    are_killed: bool,
}

impl Ends {
    fn add(&mut self, end: ProcessEnd) {
        if !(self.are_killed && end.was_killed) || self.ends.is_empty() {
            self.ends.push(end);
        }
    }

    /// Whether rank 0 has done the job.
    fn is_done(&self) -> bool {
        let mut ends = self.ends.iter();
        ends.any(|end| end.rank == 0 && matches!(end.end, AttemptEnd::Finished { .. }))
    }

    /// How long the others are given to end too, if they have to: those that fail with a rank say so at once, and what they
    /// say may be the cause; those that are left when the job is done have nothing to do.
    fn patience(&self) -> Option<Duration> {
        let is_failed = |end: &ProcessEnd| matches!(end.end, AttemptEnd::Failed { .. });
        if self.is_done() {
            Some(Duration::from_secs(5))
        } else if self.ends.iter().any(is_failed) {
            Some(Duration::from_millis(500))
        } else if self.ends.is_empty() {
            None
        } else {
            // Ranks stop together, once rank 0 has saved what it has to: what is left waits for one that never came.
            Some(Duration::from_secs(10))
        }
    }

    /// How the attempt ended. Of several failures the cause is that of a rank that was killed, else one that does not pass,
    /// else the first: a rank that loses another fails in a way that may pass.
    fn verdict(mut self, ranks: usize) -> AttemptEnd {
        let is_done = self.is_done();
        let urgency = |end: &ProcessEnd| match &end.end {
            AttemptEnd::Failed { .. } if is_done => 5,
            AttemptEnd::Failed { .. } if end.was_killed => 0,
            AttemptEnd::Failed {
                transient: false, ..
            } => 1,
            AttemptEnd::Failed { .. } => 2,
            _ if end.rank == 0 => 3,
            _ => 4,
        };
        // Stable: the first of equals.
        self.ends.sort_by_key(urgency);
        let Some(first) = self.ends.into_iter().next() else {
            return AttemptEnd::Interrupted { cause: None };
        };
        match first.end {
            AttemptEnd::Failed {
                mut chain,
                transient,
                exit,
            } => {
                if let (true, Some(outermost)) = (ranks > 1, chain.first_mut()) {
                    *outermost = format!("rank {}: {outermost}", first.rank);
                }
                AttemptEnd::Failed {
                    chain,
                    transient,
                    exit,
                }
            }
            end => end,
        }
    }
}

impl Process {
    async fn start(
        program: &Path,
        job: &Job,
        rank: u32,
        log: &Path,
    ) -> Result<Self, PipelineError> {
        let spawn_error = |source| PipelineError::Spawn {
            stage: job.stage.clone(),
            source,
        };
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|source| FileError::new("open the log", log, source))?;
        let (receiver, sender) = std::io::pipe().map_err(spawn_error)?;
        let events = tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(receiver))
            .map_err(spawn_error)?;
        let mut command = Command::new(program);
        command
            .stdin(Stdio::piped())
            .stdout(log_file.try_clone().map_err(spawn_error)?)
            .stderr(log_file)
            // A group of its own, so that Ctrl-C at a terminal reaches the supervisor alone.
            .process_group(0);
        let variables = command.as_std_mut();
        Environment::of_job(&job.execution).apply(variables);
        if let Some(device) = job.execution["device"].as_str() {
            let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
            narrow(variables, device, visible.as_deref());
        }
        command
            .fd_mappings(vec![FdMapping {
                parent_fd: OwnedFd::from(sender),
                child_fd: EVENT_DESCRIPTOR,
            }])
            .map_err(|error| spawn_error(std::io::Error::other(error)))?;
        let mut child = command.spawn().map_err(spawn_error)?;
        // The command holds the pipe's writing end; reading ends only when every copy is closed.
        drop(command);
        let pid = child
            .id()
            .expect("a child that was not waited for has a process id");
        let mut stdin = child
            .stdin
            .take()
            .expect("the worker's standard input is a pipe");
        let mut line = serde_json::to_vec(job).expect("a job is plain data");
        line.push(b'\n');
        match stdin.write_all(&line).await {
            // A worker that ended before it read its job tells why by its end.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(spawn_error(error));
            }
            _ => {}
        }
        Ok(Self {
            rank,
            child,
            _stdin: stdin,
            events,
            pid,
        })
    }

    /// Passes on what the process says until it ends, and to it what is wished. Of a rank beside rank 0 only warnings are
    /// passed on: they report the same stage.
    async fn follow(
        mut self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
    ) -> ProcessEnd {
        let rank = self.rank;
        let mut last = None;
        let mut lines = BufReader::new(self.events).lines();
        let mut listening = true;
        let mut obeyed = Stop::GoOn;
        let status = loop {
            let wished = *stop.borrow_and_update();
            if wished > obeyed {
                obeyed = wished;
                send_signal(
                    self.pid,
                    if wished == Stop::AtOnce {
                        Signal::KILL
                    } else {
                        Signal::TERM
                    },
                );
            }
            tokio::select! {
                line = lines.next_line(), if listening => match line {
                    Ok(Some(line)) => match serde_json::from_str::<Event>(&line) {
                        Ok(event @ (Event::Finished { .. } | Event::Interrupted { .. } | Event::Failed { .. })) => last = Some(event),
                        Ok(Event::Warning { message }) if rank > 0 => {
                            let message = format!("rank {rank}: {message}");
                            let _ = messages.send((stage, Event::Warning { message })).await;
                        }
                        Ok(event) if rank == 0 => { let _ = messages.send((stage, event)).await; }
                        Ok(_) => {}
                        Err(error) => {
                            let message = format!("unreadable event from the worker: {error}");
                            let _ = messages.send((stage, Event::Warning { message })).await;
                        }
                    },
                    Ok(None) | Err(_) => listening = false,
                },
                Ok(()) = stop.changed() => {}
                status = self.child.wait(), if !listening => break status,
            }
        };
        let was_killed = last.is_none()
            && status
                .as_ref()
                .is_ok_and(|status| status.signal().is_some());
        ProcessEnd {
            rank,
            end: end_of_attempt(last, status, obeyed),
            was_killed,
        }
    }
}

fn end_of_attempt(
    last: Option<Event>,
    status: std::io::Result<ExitStatus>,
    stop: Stop,
) -> AttemptEnd {
    let exit = status
        .as_ref()
        .map_or_else(ToString::to_string, ToString::to_string);
    match last {
        Some(Event::Finished { cached, outcome }) => AttemptEnd::Finished { cached, outcome },
        Some(Event::Interrupted { cause }) => AttemptEnd::Interrupted { cause },
        Some(Event::Failed { chain, transient }) => AttemptEnd::Failed {
            chain,
            transient,
            exit,
        },
        _ if stop > Stop::GoOn => AttemptEnd::Interrupted { cause: None },
        _ => {
            let killed = status.ok().and_then(|status| status.signal());
            let cause = match killed {
                Some(9) => {
                    "the worker was killed (signal 9): by a person, or by the system when memory ran out".to_owned()
                }
                Some(signal) => format!("the worker was ended by signal {signal}"),
                None => format!("the worker ended without a result ({exit})"),
            };
            AttemptEnd::Failed {
                chain: vec![cause],
                transient: killed.is_some(),
                exit,
            }
        }
    }
}

async fn sleep_until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn send_signal(pid: u32, signal: Signal) {
    // A worker that has ended already needs no signal.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
