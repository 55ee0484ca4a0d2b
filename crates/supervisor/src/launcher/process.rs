//! One process of a worker, at the other end of two pipes.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use command_fds::CommandFdExt;
use command_fds::FdMapping;
use patchwork_artifacts::environment::{Environment, narrow};
use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::EVENT_DESCRIPTOR;
use patchwork_core::FileError;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

use super::ends::ProcessEnd;
use super::{AttemptEnd, Stop};
use crate::error::PipelineError;

/// Where what a process prints goes.
#[derive(Clone, Copy)]
pub(super) enum Output<'a> {
    /// To the end of this file.
    Log(&'a Path),
    /// To where this process prints.
    Own,
}

/// A started process.
pub(super) struct Process {
    rank: u32,
    child: Child,
    /// Held open: when it closes, the worker ends at its next durable point.
    _stdin: ChildStdin,
    events: tokio::net::unix::pipe::Receiver,
    pub(super) pid: u32,
}

impl Process {
    pub(super) async fn start(
        program: &Path,
        job: &Job,
        rank: u32,
        output: Output<'_>,
    ) -> Result<Self, PipelineError> {
        let spawn_error = |source| PipelineError::Spawn {
            stage: job.stage.clone(),
            source,
        };
        let (receiver, sender) = std::io::pipe().map_err(spawn_error)?;
        let events = tokio::net::unix::pipe::Receiver::from_owned_fd(OwnedFd::from(receiver))
            .map_err(spawn_error)?;
        let mut command = Command::new(program);
        command
            .stdin(Stdio::piped())
            // A group of its own, so that Ctrl-C at a terminal reaches the supervisor alone.
            .process_group(0);
        if let Output::Log(log) = output {
            let log_file = open_log(log)?;
            command.stdout(log_file.try_clone().map_err(spawn_error)?);
            command.stderr(log_file);
        }
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

    /// Kills a process that nobody follows.
    pub(super) fn kill(&self) {
        send_signal(self.pid, Signal::KILL);
    }

    /// Passes on what the process says until it ends, and to it what is wished. Of a rank beside rank 0 only messages are
    /// passed on: they report the same stage.
    pub(super) async fn follow(
        mut self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
    ) -> ProcessEnd {
        let rank = self.rank;
        let mut last = None;
        let mut lines = BufReader::new(self.events).lines();
        let mut listening = true;
        let mut obeyed = Stop::Continue;
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
                        Ok(Event::Message { level, message }) if rank > 0 => {
                            let message = format!("rank {rank}: {message}");
                            let _ = messages.send((stage, Event::Message { level, message })).await;
                        }
                        Ok(event) if rank == 0 => { let _ = messages.send((stage, event)).await; }
                        Ok(_) => {}
                        Err(error) => {
                            let message = format!("unreadable event from the worker: {error}");
                            let _ = messages.send((stage, Event::warning(message))).await;
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

/// Opens a log to write to its end.
pub(super) fn open_log(log: &Path) -> Result<File, FileError> {
    let mut options = File::options();
    options.create(true).append(true);
    let opened = options.open(log);
    opened.map_err(|source| FileError::new("open the log", log, source))
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
        _ if stop > Stop::Continue => AttemptEnd::Interrupted { cause: None },
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

/// Sends a signal to a process and those of its group.
pub(super) fn send_signal_to_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}

pub(super) fn send_signal(pid: u32, signal: Signal) {
    // A worker that has ended already needs no signal.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
