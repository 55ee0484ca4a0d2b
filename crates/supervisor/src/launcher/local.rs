//! Ranks that are processes of this machine, started by the supervisor itself.

use std::path::{Path, PathBuf};

use patchwork_artifacts::event::Event;
use patchwork_artifacts::presence::clear_up;
use patchwork_artifacts::protocol::{Job, Place};
use patchwork_core::Membership;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Stop;
use super::ends::ProcessEnd;
use super::process::{Output, Process};
use crate::error::PipelineError;

/// The processes that work on one job: one, or as many as it has ranks.
pub(super) struct Local {
    processes: Vec<Process>,
    /// Where the ranks meet, removed with this.
    _meeting: Option<Meeting>,
}

/// A file by which the ranks of one attempt find each other, and no others.
struct Meeting {
    file: PathBuf,
    ranks: u32,
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // What is left is read by no later attempt.
        let _ = std::fs::remove_file(&self.file);
        clear_up(&self.file, self.ranks);
    }
}

impl Local {
    /// Starts the processes; `name` is of this attempt alone.
    pub(super) async fn start(
        program: &Path,
        job: &Job,
        name: &str,
        log: &Path,
    ) -> Result<Self, PipelineError> {
        let ranks = job.ranks();
        let meeting = (ranks > 1).then(|| Meeting {
            file: job.logs.join(format!("{name}.json")),
            ranks,
        });
        let mut processes = Vec::new();
        for rank in 0..ranks {
            let place = meeting.as_ref().map(|meeting| Place {
                membership: Membership {
                    rank,
                    ranks,
                    local_rank: rank,
                    local_ranks: ranks,
                },
                rendezvous: meeting.file.clone(),
                across_machines: false,
            });
            let mut job = Job {
                place,
                ..job.clone()
            };
            // Each has a GPU of its own.
            if ranks > 1 && job.execution["device"] == "cuda" {
                job.execution["device"] = format!("cuda:{rank}").into();
            }
            match Process::start(program, &job, rank, Output::Log(log)).await {
                Ok(process) => processes.push(process),
                Err(error) => {
                    // The others would wait for it.
                    processes.iter().for_each(Process::kill);
                    return Err(error);
                }
            }
        }
        Ok(Self {
            processes,
            _meeting: meeting,
        })
    }

    /// The process that reports: the only one, or rank 0.
    pub(super) fn pid(&self) -> u32 {
        self.processes[0].pid
    }

    pub(super) fn ranks(&self) -> usize {
        self.processes.len()
    }

    /// Passes on what the processes say until all have ended, and to them what is wished.
    pub(super) async fn follow(
        self,
        stage: usize,
        messages: mpsc::Sender<(usize, Event)>,
        stop: watch::Receiver<Stop>,
        ended: mpsc::Sender<ProcessEnd>,
    ) {
        let mut working = JoinSet::new();
        for process in self.processes {
            working.spawn(process.follow(stage, messages.clone(), stop.clone()));
        }
        while let Some(end) = working.join_next().await {
            let end = end.expect("listening to a process does not panic");
            let _ = ended.send(end).await;
        }
    }
}
