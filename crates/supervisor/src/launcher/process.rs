//! One process of a worker, at the other end of two pipes.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

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
use tokio::time::Instant;

use super::ends::ProcessEnd;
use super::{AttemptEnd, Stop, sleep_until};
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
    limits: Limits,
}

/// How long a process is waited for at its end.
#[derive(Clone, Copy)]
struct Limits {
    /// Once it has said how it ends, and again once it is killed: the teardown of a device that is lost may hang.
    patience: Duration,
    /// For the rest of what it said, once it is gone.
    rest: Duration,
}

const LIMITS: Limits = Limits {
    patience: Duration::from_mins(1),
    rest: Duration::from_secs(10),
};

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
            limits: LIMITS,
        })
    }

    /// Kills a process that nobody follows.
    pub(super) fn kill(&self) {
        send_signal(self.pid, Signal::KILL);
    }

    /// Passes on what the process says until it ends, and to it what is wished. Of a rank beside rank 0 only messages are
    /// passed on: they report the same stage. One that has said how it ended and does not exit is killed; what it has said
    /// holds.
    pub(super) async fn follow(
        mut self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
    ) -> ProcessEnd {
        let rank = self.rank;
        let Limits { patience, rest } = self.limits;
        let mut last = None;
        let mut lines = BufReader::new(self.events).lines();
        let mut listening = true;
        let mut obeyed = Stop::Continue;
        let mut status: Option<std::io::Result<ExitStatus>> = None;
        let mut is_killed = false;
        // When it is no longer waited for.
        let mut end_at: Option<Instant> = None;
        while status.is_none() || listening {
            let wished = *stop.borrow_and_update();
            if wished > obeyed && status.is_none() {
                obeyed = wished;
                if wished == Stop::AtOnce {
                    send_signal(self.pid, Signal::KILL);
                    is_killed = true;
                    end_at = Some(Instant::now() + patience);
                } else {
                    send_signal(self.pid, Signal::TERM);
                }
            }
            tokio::select! {
                line = lines.next_line(), if listening => {
                    if let Ok(Some(line)) = line {
                        last = pass_on(&line, rank, stage, &messages).await.or(last);
                    } else {
                        listening = false;
                    }
                    end_at = if status.is_some() {
                        Some(Instant::now() + rest)
                    } else if last.is_some() || is_killed || !listening {
                        Some(Instant::now() + patience)
                    } else {
                        None
                    };
                }
                Ok(()) = stop.changed() => {}
                ended = self.child.wait(), if status.is_none() => {
                    status = Some(ended);
                    // One that it has started may hold the pipe.
                    end_at = Some(Instant::now() + rest);
                }
                () = sleep_until(end_at), if end_at.is_some() => {
                    if status.is_some() || is_killed {
                        break;
                    }
                    let warning = format!(
                        "its worker had ended its work and has not exited for {:.0} s: it is killed",
                        patience.as_secs_f64()
                    );
                    let _ = messages.send((stage, Event::warning(warning))).await;
                    send_signal_to_group(self.pid, Signal::KILL);
                    is_killed = true;
                    end_at = Some(Instant::now() + patience);
                }
            }
        }
        // The kernel does not end what waits for a lost device or file server; it keeps its lock until then.
        let is_gone = status.is_some();
        let status = status.unwrap_or_else(|| Err(std::io::Error::other("it cannot be killed")));
        let by_signal = |status: &ExitStatus| status.signal().is_some();
        let was_killed = last.is_none() && (!is_gone || status.as_ref().is_ok_and(by_signal));
        ProcessEnd {
            rank,
            end: end_of_attempt(last, status, obeyed),
            was_killed,
        }
    }
}

/// Passes on what a process says; gives an event that says how it ended.
async fn pass_on(
    line: &str,
    rank: u32,
    stage: usize,
    messages: &mpsc::Sender<(usize, Event)>,
) -> Option<Event> {
    let event = match serde_json::from_str::<Event>(line) {
        Ok(event @ (Event::Finished { .. } | Event::Interrupted { .. } | Event::Failed { .. })) => {
            return Some(event);
        }
        Ok(Event::Message { level, message }) if rank > 0 => Event::Message {
            level,
            message: format!("rank {rank}: {message}"),
        },
        Ok(_) if rank > 0 => return None,
        Ok(event) => event,
        Err(error) => Event::warning(format!("unreadable event from the worker: {error}")),
    };
    let _ = messages.send((stage, event)).await;
    None
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use patchwork_core::Fingerprint;
    use serde_json::json;

    use super::*;

    /// How a worker ends that a shell script stands for, and what was reported meanwhile.
    async fn end_of(script: &str) -> (ProcessEnd, Vec<Event>) {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("worker");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let job = Job {
            stage: "train".to_owned(),
            kind: "test".to_owned(),
            format_version: 1,
            fingerprint: Fingerprint::of(&json!(script)),
            settings: json!({}),
            execution: json!({}),
            source: None,
            inputs: Vec::new(),
            home: home.path().to_owned(),
            logs: home.path().to_owned(),
            place: None,
        };
        let log = home.path().join("log");
        let started = Process::start(&program, &job, 0, Output::Log(&log)).await;
        let mut process = started.unwrap();
        process.limits = Limits {
            patience: Duration::from_secs(2),
            rest: Duration::from_secs(2),
        };
        let (messages, mut inbox) = mpsc::channel(16);
        let (_wishes, wished) = watch::channel(Stop::Continue);
        let following = process.follow(0, messages, wished);
        let end = tokio::time::timeout(Duration::from_mins(1), following).await;
        let mut events = Vec::new();
        while let Ok((_, event)) = inbox.try_recv() {
            events.push(event);
        }
        (
            end.expect("the worker is waited for without an end"),
            events,
        )
    }

    #[tokio::test]
    async fn a_worker_that_has_ended_its_work_and_does_not_exit_is_killed_and_its_word_holds() {
        let lost = r#"echo '{"event":"failed","chain":["CUDA error"],"transient":true}' >&3; exec sleep 600"#;
        let (end, events) = end_of(lost).await;
        let AttemptEnd::Failed {
            chain, transient, ..
        } = end.end
        else {
            panic!("{end:?}")
        };
        assert!(transient && chain == ["CUDA error"] && !end.was_killed);
        assert!(
            matches!(&events[..], [Event::Message { message, .. }] if message.contains("not exited")),
            "{events:?}"
        );

        let done = r#"echo '{"event":"finished","cached":false,"outcome":{"summary":{}}}' >&3; exec sleep 600"#;
        let (end, _) = end_of(done).await;
        assert!(matches!(end.end, AttemptEnd::Finished { .. }), "{end:?}");
    }

    #[tokio::test]
    async fn a_worker_that_is_gone_is_not_waited_for_because_of_what_it_has_started() {
        let (end, _) = end_of("sleep 30 & exit 3").await;
        let AttemptEnd::Failed { chain, .. } = end.end else {
            panic!("{end:?}")
        };
        assert!(chain[0].contains("exit status: 3"), "{chain:?}");
    }

    #[tokio::test]
    async fn what_a_worker_says_after_a_long_silence_is_heard() {
        let slow = r#"sleep 5; echo '{"event":"waiting"}' >&3; sleep 3
            echo '{"event":"finished","cached":true,"outcome":{"summary":{}}}' >&3"#;
        let (end, events) = end_of(slow).await;
        assert!(matches!(end.end, AttemptEnd::Finished { cached: true, .. }));
        assert_eq!(events, [Event::Waiting]);
    }
}
