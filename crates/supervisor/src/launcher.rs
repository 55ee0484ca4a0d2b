//! The one place that starts workers and follows them to their end. What a worker is started through, here a process of
//! this machine, is known to nobody else.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::CommandFdExt;
use command_fds::FdMapping;
use patchwork_artifacts::Outcome;
use patchwork_artifacts::environment::{Environment, narrow};
use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::EVENT_DESCRIPTOR;
use patchwork_core::FileError;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

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

/// A started worker.
pub(crate) struct Worker {
    child: Child,
    /// Held open: when it closes, the worker ends at its next durable point.
    _stdin: ChildStdin,
    events: tokio::net::unix::pipe::Receiver,
    pub(crate) pid: u32,
}

impl Worker {
    /// Starts a worker on a job. What it prints goes to the end of the log file.
    pub(crate) async fn start(
        program: &Path,
        job: &Job,
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
            child,
            _stdin: stdin,
            events,
            pid,
        })
    }

    /// Passes on what the worker of a stage says until it ends; gives the stage and how it ended.
    ///
    /// `stop` ends it earlier, as does `timeout`.
    pub(crate) async fn follow(
        mut self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
        timeout: Option<Duration>,
    ) -> (usize, AttemptEnd) {
        const GRACE: Duration = Duration::from_mins(1);
        let mut last = None;
        let mut lines = BufReader::new(self.events).lines();
        let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let mut timed_out = false;
        let mut kill_at: Option<tokio::time::Instant> = None;
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
                        Ok(event) => { let _ = messages.send((stage, event)).await; }
                        Err(error) => {
                            let message = format!("unreadable event from the worker: {error}");
                            let _ = messages.send((stage, Event::warning(message))).await;
                        }
                    },
                    Ok(None) | Err(_) => listening = false,
                },
                _ = stop.changed() => {}
                () = sleep_until(deadline), if !timed_out => {
                    timed_out = true;
                    kill_at = Some(tokio::time::Instant::now() + GRACE);
                    send_signal(self.pid, Signal::TERM);
                }
                () = sleep_until(kill_at), if kill_at.is_some() => {
                    kill_at = None;
                    send_signal(self.pid, Signal::KILL);
                }
                status = self.child.wait(), if !listening => break status,
            }
        };
        let end = end_of_attempt(last, status, obeyed);
        let end = match (timed_out, timeout, end) {
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

fn end_of_attempt(
    last: Option<Event>,
    status: std::io::Result<ExitStatus>,
    stop: Stop,
) -> AttemptEnd {
    use std::os::unix::process::ExitStatusExt;
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
