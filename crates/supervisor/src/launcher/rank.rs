//! One rank's side of a launcher: the process that it starts, which starts the worker and passes on what that says.

use std::path::Path;
use std::time::Duration;

use patchwork_artifacts::event::Event;
use patchwork_artifacts::protocol::{Job, Place};
use patchwork_core::FileError;
use patchwork_core::membership::{LauncherError, Membership, host_name};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ends::ProcessEnd;
use super::launched::BEAT;
use super::link::{Link, Order};
use super::process::{Output, Process};
use super::{AttemptEnd, Stop};
use crate::error::PipelineError;
use crate::signals::{Signals, wish};

/// How often what the worker says is passed on, and looked what the supervisor says.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is passed on how far the worker is.
const PROGRESS: Duration = Duration::from_secs(1);

/// After so long without a sign of the supervisor, training stops at its next durable point. A supervisor may wait this
/// long for a file server.
const SUPERVISOR_PATIENCE: Duration = Duration::from_mins(3);

/// How long a worker is given to end, when its supervisor is lost.
const GRACE: Duration = Duration::from_mins(1);

/// Why a process is not a rank.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
    /// The launcher's variables make no sense.
    #[error(transparent)]
    Launcher(#[from] LauncherError),
    /// No launcher's variables are there.
    #[error(
        "no launcher has started this process: `RANK`, `OMPI_COMM_WORLD_RANK`, `PMI_RANK` and `SLURM_PROCID` are not set"
    )]
    NoLauncher,
    /// Two processes are the same rank.
    #[error(
        "another process is rank {rank} already: the launcher has to give each a number of its own, and to start none again"
    )]
    Twice {
        /// Its number.
        rank: u32,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The worker could not be started.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// Works as the rank that the launcher's variables say, for the supervisor whose folder this is.
///
/// # Errors
/// What keeps the process from being a rank; how the worker ends is written to the folder.
pub async fn work_as_rank(folder: &Path) -> Result<(), RankError> {
    let (link, order) = Link::open(folder)?;
    let variable = |name: &str| std::env::var(name).ok();
    let (_, membership) = Membership::of_launcher(variable)?.ok_or(RankError::NoLauncher)?;
    let rank = membership.rank;
    if !link.appear(rank)? {
        return Err(RankError::Twice { rank });
    }
    let end = match job_of(&order, membership, &link) {
        Ok(job) => {
            let started = Process::start(&order.program, &job, rank, Output::Own).await;
            match started {
                Ok(process) => return attend(process, rank, &link, &order).await,
                Err(error) => failed(rank, patchwork_artifacts::failure::chain(&error), true),
            }
        }
        Err(problem) => failed(rank, vec![problem], false),
    };
    link.end(&end)?;
    Ok(())
}

fn failed(rank: u32, chain: Vec<String>, transient: bool) -> ProcessEnd {
    ProcessEnd {
        rank,
        end: AttemptEnd::Failed {
            chain,
            transient,
            exit: "not started".to_owned(),
        },
        was_killed: false,
    }
}

/// The job of one rank; what is wrong, if the launcher started other ranks than were asked for.
fn job_of(order: &Order, membership: Membership, link: &Link) -> Result<Job, String> {
    let mut job = order.job.clone();
    let Membership {
        ranks, local_rank, ..
    } = membership;
    let wished = job.ranks();
    if wished > 1 && wished != ranks {
        return Err(format!(
            "`launch` starts {ranks} ranks, and `ranks` is {wished}; leave `ranks` out, or make them equal"
        ));
    }
    job.execution["ranks"] = ranks.into();
    if job.execution["device"] == "cuda" {
        // A launcher that shares the GPUs out shows each rank its own alone.
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let is_shared_out = visible.is_some_and(|visible| !visible.contains(','));
        let device = if is_shared_out { 0 } else { local_rank };
        job.execution["device"] = format!("cuda:{device}").into();
    }
    job.place = Some(Place {
        membership,
        rendezvous: link.rendezvous(),
        across_machines: true,
    });
    Ok(job)
}

/// Follows the worker to its end, and writes how it ended.
async fn attend(process: Process, rank: u32, link: &Link, order: &Order) -> Result<(), RankError> {
    let mut signals = Signals::listen()?;
    let (messages, mut inbox) = mpsc::channel(256);
    let (wishes, wished) = watch::channel(Stop::Continue);
    let wish_for = |wish: Stop| {
        wishes.send_if_modified(|wished| {
            let is_more = wish > *wished;
            *wished = Stop::max(*wished, wish);
            is_more
        });
    };
    let mut worker = tokio::spawn(process.follow(0, messages, wished));
    let mut supervisor = Supervisor::of(order);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first_signal: Option<Instant> = None;
    let mut reports = Reports::new(rank, link);
    let mut is_lost = false;
    let mut end = loop {
        tokio::select! {
            end = &mut worker => break end.expect("listening to a process does not panic"),
            Some((_, event)) = inbox.recv() => reports.add(event),
            _ = signals.next() => {
                let since_first = first_signal.map(|moment| moment.elapsed());
                first_signal.get_or_insert_with(Instant::now);
                if let Some(wish) = wish(since_first) {
                    wish_for(wish);
                }
            }
            _ = looks.tick() => {
                reports.flush_if_due();
                wish_for(link.wished());
                if let Some(lost_for) = supervisor.is_lost(link) {
                    is_lost = true;
                    wish_for(if lost_for > GRACE { Stop::AtOnce } else { Stop::AtNextPoint });
                }
            }
        }
    };
    while let Ok((_, event)) = inbox.try_recv() {
        reports.add(event);
    }
    if let (true, Stop::Continue, None, AttemptEnd::Interrupted { .. }) =
        (is_lost, link.wished(), first_signal, &end.end)
    {
        // Nobody has asked for it: if the supervisor is there after all, it tries again.
        end.end = AttemptEnd::Failed {
            chain: vec![format!(
                "the supervisor had shown no sign of life for {:.0} s",
                SUPERVISOR_PATIENCE.as_secs_f64()
            )],
            transient: true,
            exit: "interrupted".to_owned(),
        };
    }
    // A disk that is full, or a file server that hangs, may come back as long as there is somebody who reads.
    loop {
        let written = reports.flush().and_then(|()| link.end(&end));
        match written {
            Ok(()) => return Ok(()),
            Err(error) if supervisor.is_lost(link).is_some_and(|time| time > GRACE) => {
                return Err(error.into());
            }
            Err(_) => tokio::time::sleep(BEAT).await,
        }
    }
}

/// Events of the worker on their way to the supervisor. Those that cannot be written yet are kept.
struct Reports<'a> {
    rank: u32,
    link: &'a Link,
    kept: Vec<Event>,
    /// How far it is: the newest alone, now and then.
    progress: Option<Event>,
    passed: Option<Instant>,
}

impl<'a> Reports<'a> {
    fn new(rank: u32, link: &'a Link) -> Self {
        Self {
            rank,
            link,
            kept: Vec::new(),
            progress: None,
            passed: None,
        }
    }

    fn add(&mut self, event: Event) {
        match event {
            Event::Progress(_) => self.progress = Some(event),
            event => {
                // In the order in which they came.
                self.kept.extend(self.progress.take());
                self.kept.push(event);
            }
        }
    }

    fn flush_if_due(&mut self) {
        let is_due = self
            .passed
            .is_none_or(|passed| passed.elapsed() >= PROGRESS);
        if is_due || !self.kept.is_empty() {
            self.passed = Some(Instant::now());
            // It is tried again.
            let _ = self.flush();
        }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.kept.extend(self.progress.take());
        if !self.kept.is_empty() {
            self.link.append(self.rank, &self.kept)?;
            self.kept.clear();
        }
        Ok(())
    }
}

/// The supervisor, as a rank sees it.
struct Supervisor {
    /// Its process, where it is one of this machine that is seen from here.
    process: Option<Seen>,
    beat: Option<String>,
    since: Instant,
    looked: Instant,
    lost: Option<Instant>,
}

/// A process that was there, and when it began.
struct Seen {
    pid: u32,
    began: String,
}

impl Supervisor {
    fn of(order: &Order) -> Self {
        let process = (order.host == host_name())
            .then(|| {
                let began = beginning(order.pid)?;
                Some(Seen {
                    pid: order.pid,
                    began,
                })
            })
            .flatten();
        let now = Instant::now();
        Self {
            process,
            beat: None,
            since: now,
            looked: now,
            lost: None,
        }
    }

    /// For how long it has been known to be gone, if it is.
    fn is_lost(&mut self, link: &Link) -> Option<Duration> {
        if self.looked.elapsed() >= BEAT {
            if self.looked.elapsed() > 10 * BEAT {
                // This process did not get to look either.
                self.since = Instant::now();
            }
            self.looked = Instant::now();
            let beat = link.beaten();
            if beat != self.beat {
                self.beat = beat;
                self.since = Instant::now();
            }
            let is_gone = |seen: &Seen| beginning(seen.pid).as_ref() != Some(&seen.began);
            let is_lost = link.is_gone()
                || match &self.process {
                    // One that is seen to live is only slow.
                    Some(seen) => is_gone(seen),
                    None => self.since.elapsed() > SUPERVISOR_PATIENCE,
                };
            self.lost = is_lost.then(|| self.lost.unwrap_or_else(Instant::now));
        }
        self.lost.map(|moment| moment.elapsed())
    }
}

/// When a living process of this machine began, in the system's own count: proc_pid_stat(5), field 22.
fn beginning(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let began = fields.nth(18)?;
    (!matches!(state, "Z" | "X")).then(|| began.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_began() {
        let own = beginning(std::process::id()).unwrap();
        assert!(own.parse::<u64>().unwrap() > 0);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        assert!(beginning(child.id()).is_some());
        child.kill().unwrap();
        // Not waited for, it is a zombie.
        while beginning(child.id()).is_some() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert_eq!(beginning(child.id()), None);
    }
}
