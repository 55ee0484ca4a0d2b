//! The supervisor: starts workers in the order of the plan, listens, records, stops.

mod events;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchwork_artifacts::Outcome;
use patchwork_artifacts::StageStatus;
use patchwork_artifacts::Store;
use patchwork_artifacts::event::Event;
use patchwork_artifacts::failure::chain;
use patchwork_artifacts::spec::{Demand, PipelineSpec};
use patchwork_core::lock::FileLock;
use patchwork_registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::capacity::Capacity;
use crate::error::PipelineError;
use crate::launcher::{AttemptEnd, Stop, Worker};
use crate::observer::{Caller, Observer, Update};
use crate::plan::Plan;
use crate::progression::{Attempt, Progression};
use crate::recorder::Recorder;
use crate::result::{RunOutcome, StageResult};
use crate::signals::{Signals, wish};
use patchwork_artifacts::Provenance;

/// How a run is carried out; none of it changes an artifact.
#[derive(Clone, Debug)]
pub struct ExecuteOptions {
    /// The program that does the job on its standard input (`worker::run`).
    pub worker: PathBuf,
    /// Programs that do the same for the stages of one kind, by kind.
    pub own_programs: BTreeMap<String, PathBuf>,
    /// How many stages may run at once; none = as many as the machine has room for.
    pub jobs: Option<usize>,
    /// What is recorded of the circumstances.
    pub provenance: Provenance,
}

/// Carries out a plan and records it as a run.
///
/// `planning` is [`Store::lock_planning`], held since before the plan was made; it is given up once the run is
/// recorded.
///
/// # Errors
/// What keeps the run from its start; what goes wrong later is part of its outcome.
pub async fn execute(
    spec: &PipelineSpec,
    plan: &Plan,
    planning: FileLock,
    store: &Store,
    registry: &Registry,
    options: &ExecuteOptions,
    caller: Caller<'_>,
) -> Result<RunOutcome, PipelineError> {
    let Caller { observer, signals } = caller;
    let capacity = Capacity::of_this_machine();
    capacity.check(&spec.stages)?;
    let recorder = Recorder::start_run(registry, store, spec, plan, &options.provenance).await?;
    drop(planning);
    observer.update(Update::RunStarted {
        run: recorder.run().to_owned(),
    });
    let (stop, stopped) = watch::channel(Stop::Continue);
    let (messages, inbox) = mpsc::channel(256);
    let mut run = Run {
        plan,
        capacity,
        store,
        options,
        recorder,
        observer,
        messages,
        stopped,
        stages: Vec::new(),
    };
    run.stages = plan.stages.iter().map(|_| Progression::Pending).collect();
    let signal = run.work(signals, &stop, inbox).await;
    Ok(run.finish(signal).await)
}

struct Run<'a> {
    plan: &'a Plan,
    capacity: Capacity,
    store: &'a Store,
    options: &'a ExecuteOptions,
    recorder: Recorder<'a>,
    observer: &'a mut dyn Observer,
    messages: mpsc::Sender<(usize, Event)>,
    stopped: watch::Receiver<Stop>,
    stages: Vec<Progression>,
}

type Workers = JoinSet<(usize, AttemptEnd)>;

impl Run<'_> {
    /// Has the stages done, until all have ended or a signal has stopped them; gives the signal.
    ///
    /// No error ends it while a worker is at work: what goes wrong with a stage is that stage's result.
    async fn work(
        &mut self,
        signals: &mut Signals,
        stop: &watch::Sender<Stop>,
        mut inbox: mpsc::Receiver<(usize, Event)>,
    ) -> Option<i32> {
        let mut workers = JoinSet::new();
        let mut first_signal: Option<(i32, Instant)> = None;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if first_signal.is_none() {
                self.start_what_is_ready(&mut workers).await;
            }
            if workers.is_empty() && (first_signal.is_some() || !self.is_waiting_for_retry()) {
                return first_signal.map(|(number, _)| number);
            }
            tokio::select! {
                Some((index, event)) = inbox.recv() => self.take_event(index, event),
                Some(ended) = workers.join_next() => {
                    let (index, end) = ended.expect("supervising a worker does not panic");
                    // What the worker said before it ended comes first.
                    while let Ok((index, event)) = inbox.try_recv() {
                        self.take_event(index, event);
                    }
                    self.take_end(index, end, first_signal.is_some());
                }
                number = signals.next() => {
                    let since_first = first_signal.map(|(_, moment)| moment.elapsed());
                    first_signal.get_or_insert((number, Instant::now()));
                    if let Some(wish) = wish(since_first) {
                        stop.send_replace(wish);
                        self.observer.update(Update::Stopping);
                    }
                }
                Some(recording) = self.recorder.recording_changed() => {
                    self.observer.update(Update::Recording(recording));
                }
                // A stage that waits for another attempt may be due.
                _ = second.tick() => {}
            }
        }
    }

    /// Ends what is cached or cannot run, and starts what can, until nothing changes.
    async fn start_what_is_ready(&mut self, workers: &mut Workers) {
        for index in 0..self.plan.stages.len() {
            match self.stages[index] {
                Progression::Pending => {}
                Progression::Retrying { attempt, at, .. } => {
                    if at <= Instant::now() && self.has_room(index) {
                        self.start(index, attempt, workers).await;
                    }
                    continue;
                }
                Progression::Running(_) | Progression::Ended(_) => continue,
            }
            let planned = &self.plan.stages[index];
            let needs: Vec<&Progression> = planned
                .spec
                .needs
                .iter()
                .map(|need| &self.stages[self.index_of(need)])
                .collect();
            if needs
                .iter()
                .any(|need| matches!(need, Progression::Ended(result) if result.outcome.is_none()))
            {
                let result = self.result(
                    index,
                    StageStatus::Skipped,
                    Duration::ZERO,
                    None,
                    Vec::new(),
                );
                self.end_stage(index, result);
                continue;
            }
            if let Some(manifest) = &planned.cached {
                let outcome = Some(manifest.outcome.clone());
                let result = self.result(
                    index,
                    StageStatus::Cached,
                    Duration::ZERO,
                    outcome,
                    Vec::new(),
                );
                self.end_stage(index, result);
                continue;
            }
            let ready = needs
                .iter()
                .all(|need| matches!(need, Progression::Ended(_)));
            if ready && self.has_room(index) {
                let (kind, fingerprint) = (&planned.spec.kind, planned.fingerprint);
                let made_room = if planned.is_forced {
                    self.store.set_aside_replaced(kind, fingerprint)
                } else {
                    Ok(())
                };
                match made_room {
                    Ok(()) => self.start(index, Attempt::first(), workers).await,
                    Err(error) => {
                        let error = chain(&error);
                        let result =
                            self.result(index, StageStatus::Failed, Duration::ZERO, None, error);
                        self.end_stage(index, result);
                    }
                }
            }
        }
    }

    async fn start(&mut self, index: usize, attempt: Attempt, workers: &mut Workers) {
        let planned = &self.plan.stages[index];
        let stage = planned.spec.name.as_str();
        let log = self.recorder.log(stage);
        let job = planned.job(self.store, self.recorder.run());
        let program = self.options.own_programs.get(&planned.spec.kind);
        let program = program.unwrap_or(&self.options.worker);
        let started = Worker::start(program, &job, &log).await;
        let worker = match started {
            Ok(worker) => worker,
            Err(error) => {
                let error = chain(&error);
                // What is missing now, a process or a file, may be available later.
                if let Some(next) = attempt.next(planned.spec.retries) {
                    self.try_again(index, next, error);
                } else {
                    let (status, time) = (StageStatus::Failed, attempt.since.elapsed());
                    let result = self.result(index, status, time, None, error);
                    self.end_stage(index, result);
                }
                return;
            }
        };
        self.recorder.tell_of_attempt(
            stage,
            attempt.number,
            Event::AttemptStarted { pid: worker.pid },
        );
        self.stages[index] = Progression::Running(attempt.beginning());
        self.observer.update(Update::StageStarted {
            stage: stage.to_owned(),
            attempt: attempt.number,
        });
        workers.spawn(worker.follow(
            index,
            self.messages.clone(),
            self.stopped.clone(),
            planned.spec.timeout,
        ));
    }

    async fn finish(mut self, signal: Option<i32>) -> RunOutcome {
        for index in 0..self.stages.len() {
            let (status, duration, error) = match &self.stages[index] {
                Progression::Pending => (StageStatus::Skipped, Duration::ZERO, Vec::new()),
                Progression::Retrying { attempt, error, .. } => {
                    let time = attempt.since.elapsed();
                    (StageStatus::Failed, time, error.clone())
                }
                Progression::Running(_) | Progression::Ended(_) => continue,
            };
            let result = self.result(index, status, duration, None, error);
            self.end_stage(index, result);
        }
        let run = self.recorder.run().to_owned();
        let stages: Vec<StageResult> = self
            .stages
            .into_iter()
            .filter_map(|stage| match stage {
                Progression::Ended(result) => Some(*result),
                Progression::Pending | Progression::Running(_) | Progression::Retrying { .. } => {
                    None
                }
            })
            .collect();
        let mut outcome = RunOutcome {
            run,
            stages,
            signal,
            unrecorded: Vec::new(),
        };
        let recorded = self.recorder.finish_run(&outcome, self.observer).await;
        if let Err(error) = recorded {
            outcome.unrecorded = chain(&error);
        }
        outcome
    }

    fn result(
        &self,
        index: usize,
        status: StageStatus,
        duration: Duration,
        outcome: Option<Outcome>,
        error: Vec<String>,
    ) -> StageResult {
        let planned = &self.plan.stages[index];
        StageResult {
            stage: planned.spec.name.clone(),
            kind: planned.spec.kind.clone(),
            status,
            duration,
            fingerprint: planned.fingerprint,
            folder: self.store.artifact(&planned.spec.kind, planned.fingerprint),
            outcome,
            error,
            log: self.recorder.log(&planned.spec.name),
        }
    }

    /// Whether another stage may run beside those that do.
    fn has_room(&self, next: usize) -> bool {
        let at_work: Vec<&Demand> = self
            .stages
            .iter()
            .zip(&self.plan.stages)
            .filter(|(stage, _)| matches!(stage, Progression::Running(_)))
            .map(|(_, planned)| &planned.spec.demand)
            .collect();
        self.options.jobs.is_none_or(|jobs| at_work.len() < jobs)
            && self
                .capacity
                .has_room(&at_work, &self.plan.stages[next].spec.demand)
    }

    fn is_waiting_for_retry(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| matches!(stage, Progression::Retrying { .. }))
    }

    fn index_of(&self, stage: &str) -> usize {
        self.plan
            .stages
            .iter()
            .position(|planned| planned.spec.name == stage)
            .expect("a plan holds every stage that its stages need")
    }
}
