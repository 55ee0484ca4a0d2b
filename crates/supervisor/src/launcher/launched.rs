//! The supervisor's side of ranks that a launcher starts, such as Slurm's `srun`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::Job;
use patchwork_core::membership::{Launcher, host_name};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ends::ProcessEnd;
use super::link::{Link, Order, Read};
use super::process::{open_log, send_signal_to_group};
use super::{AttemptEnd, Stop, sleep_until};
use crate::error::PipelineError;

/// How often it is looked what the ranks say.
const LOOK: Duration = Duration::from_millis(100);

/// How often the supervisor shows that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// How long a launcher is given to end, when all of its ranks have.
const GRACE: Duration = Duration::from_secs(15);

/// After so long without a rank it is said that there is none.
const SILENCE: Duration = Duration::from_mins(1);

/// How long what a rank wrote at its end may take to be seen here.
const SIGHT: Duration = Duration::from_secs(3);

/// A launcher at work, and the folder by which its ranks are followed.
pub(super) struct Launched {
    command: String,
    link: Link,
    child: Child,
    pub(super) pid: u32,
}

impl Drop for Launched {
    fn drop(&mut self) {
        // What is left is read by no later attempt.
        let _ = std::fs::remove_dir_all(self.link.folder());
    }
}

impl Launched {
    /// Starts the ranks of a job by a launcher's `command`, a line of the shell to which this program and its arguments are
    /// added; `name` is of this attempt alone.
    pub(super) fn start(
        command: &str,
        program: &Path,
        job: &Job,
        name: &str,
        log: &Path,
    ) -> Result<Self, PipelineError> {
        let spawn_error = |source| PipelineError::Spawn {
            stage: job.stage.clone(),
            source,
        };
        let order = Order {
            job: job.clone(),
            program: program.to_owned(),
            host: host_name(),
            pid: std::process::id(),
        };
        let folder = std::path::absolute(job.logs.join(name)).map_err(spawn_error)?;
        let link = Link::create(folder, &order)?;
        let log_file = open_log(log)?;
        let mut line = Command::new("sh");
        // `env`, so that it may begin with variables.
        line.args(["-c", &format!("exec env {command} \"$@\""), "sh"])
            .arg(own_program().map_err(spawn_error)?)
            .arg("rank")
            .arg(link.folder())
            .stdin(Stdio::null())
            .stdout(log_file.try_clone().map_err(spawn_error)?)
            .stderr(log_file)
            // A group of its own, so that Ctrl-C at a terminal reaches the supervisor alone.
            .process_group(0);
        // Where the supervisor itself is one of a launcher's processes, its number is not that of its ranks.
        for launcher in Launcher::ALL {
            let [rank, ranks, local] = launcher.variables();
            line.env_remove(rank).env_remove(local);
            // How many tasks an allocation has is what `srun` starts by default.
            if launcher != Launcher::Slurm {
                line.env_remove(ranks);
            }
        }
        let child = line.spawn().map_err(spawn_error)?;
        Ok(Self {
            command: command.to_owned(),
            link,
            pid: child
                .id()
                .expect("a child that was not waited for has a process id"),
            child,
        })
    }

    /// Passes on what the ranks say until all have ended, and to them what is wished.
    pub(super) async fn follow(
        mut self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        mut stop: watch::Receiver<Stop>,
        ended: mpsc::Sender<ProcessEnd>,
    ) {
        let mut ranks = Ranks::default();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut obeyed = Stop::Continue;
        let (mut last_beat, mut beats) = (None::<Instant>, 0);
        let mut end_at: Option<Instant> = None;
        let mut is_terminated = false;
        let (started, mut is_said) = (Instant::now(), false);
        let status = loop {
            let wished = *stop.borrow_and_update();
            if wished > obeyed {
                obeyed = wished;
                if let Err(error) = self.link.stop(wished) {
                    let warning =
                        format!("writing the request to stop to the ranks failed: {error}");
                    let _ = messages.send((stage, Event::warning(warning))).await;
                    send_signal_to_group(self.pid, Signal::TERM);
                }
                if wished == Stop::AtOnce {
                    end_at.get_or_insert(Instant::now() + SIGHT);
                }
            }
            if last_beat.is_none_or(|last| last.elapsed() >= BEAT) {
                last_beat = Some(Instant::now());
                beats += 1;
                self.link.beat(beats);
            }
            tokio::select! {
                status = self.child.wait() => break status,
                Ok(()) = stop.changed() => {}
                _ = looks.tick() => {
                    for end in ranks.look(&self.link, stage, &messages).await {
                        let _ = ended.send(end).await;
                    }
                    if ranks.0.is_empty() && !is_said && started.elapsed() >= SILENCE {
                        is_said = true;
                        let warning = format!(
                            "`{}` has started no rank for {:.0} s; the stage's log has what it says",
                            self.command, SILENCE.as_secs_f64()
                        );
                        let _ = messages.send((stage, Event::warning(warning))).await;
                    }
                    if ranks.have_all_ended() {
                        end_at.get_or_insert(Instant::now() + GRACE);
                    }
                }
                () = sleep_until(end_at), if end_at.is_some() => {
                    send_signal_to_group(self.pid, if is_terminated { Signal::KILL } else { Signal::TERM });
                    is_terminated = true;
                    end_at = Some(Instant::now() + GRACE);
                }
            }
        };
        if !ranks.have_all_ended() {
            // Those that the launcher has left behind.
            let _ = self.link.stop(Stop::AtOnce);
            send_signal_to_group(self.pid, Signal::KILL);
        }
        let deadline = Instant::now() + SIGHT;
        loop {
            for end in ranks.look(&self.link, stage, &messages).await {
                let _ = ended.send(end).await;
            }
            if ranks.have_all_ended() || Instant::now() >= deadline {
                break;
            }
            looks.tick().await;
        }
        for end in ranks.lost(&self.command, status, obeyed) {
            let _ = ended.send(end).await;
        }
    }
}

/// This program's file: also after another one was built in its place, which the system says of its path.
fn own_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(replaced) if !path.exists() => PathBuf::from(replaced),
        _ => path,
    })
}

/// What is known of the ranks.
#[derive(Default)]
struct Ranks(BTreeMap<u32, Rank>);

#[derive(Default)]
struct Rank {
    read: Read,
    has_ended: bool,
}

impl Ranks {
    /// Passes on what they have said since it was looked last; gives those that have ended.
    async fn look(
        &mut self,
        link: &Link,
        stage: usize,
        messages: &mpsc::Sender<(usize, Event)>,
    ) -> Vec<ProcessEnd> {
        for rank in link.ranks() {
            self.0.entry(rank).or_default();
        }
        let mut ends = Vec::new();
        for (number, rank) in self.0.iter_mut().filter(|(_, rank)| !rank.has_ended) {
            // It is written after all else.
            let end = link.ended(*number);
            for event in link.new_events(*number, &mut rank.read) {
                let event = event.unwrap_or_else(|error| {
                    Event::warning(format!("unreadable event from rank {number}: {error}"))
                });
                let _ = messages.send((stage, event)).await;
            }
            rank.has_ended = end.is_some();
            ends.extend(end);
        }
        ends
    }

    /// Whether some have come, and all that have come have ended.
    fn have_all_ended(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|rank| rank.has_ended)
    }

    /// How those ended that did not say so, when their launcher has ended.
    fn lost(
        self,
        command: &str,
        status: std::io::Result<ExitStatus>,
        obeyed: Stop,
    ) -> Vec<ProcessEnd> {
        /// Shells and their commands that find no program, or may not start it.
        const NOT_FOUND: [Option<i32>; 2] = [Some(126), Some(127)];
        let exit = status
            .as_ref()
            .map_or_else(ToString::to_string, ToString::to_string);
        let code = status.ok().and_then(|status| status.code());
        let lost = |rank: u32, cause: String| ProcessEnd {
            rank,
            end: if obeyed > Stop::Continue {
                AttemptEnd::Interrupted { cause: None }
            } else {
                AttemptEnd::Failed {
                    chain: vec![cause],
                    transient: !NOT_FOUND.contains(&code),
                    exit: exit.clone(),
                }
            },
            was_killed: true,
        };
        if self.0.is_empty() {
            let cause = format!(
                "`{command}` started no rank ({exit}); the stage's log has what it said, and \
                 `patchwork doctor --launch` tries it"
            );
            return vec![ProcessEnd {
                was_killed: false,
                ..lost(0, cause)
            }];
        }
        let ranks = self.0.into_iter().filter(|(_, rank)| !rank.has_ended);
        ranks
            .map(|(rank, _)| {
                let cause = format!(
                    "it was lost, with its machine or killed there (`{command}` ended: {exit})"
                );
                lost(rank, cause)
            })
            .collect()
    }
}
