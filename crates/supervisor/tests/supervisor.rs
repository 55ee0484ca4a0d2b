//! The supervisor with a worker of its own: what goes wrong around a healthy stage costs no more than it must.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{self, Context, StageError};
use patchwork_artifacts::{
    Demand, Event, Outcome, PipelineSpec, Provenance, Record, RunStatus, StageSpec, StageStatus,
    Store, Timestamp,
};
use patchwork_registry::Registry;
use patchwork_supervisor::observer::{Caller, Observer, Recording, Update};
use patchwork_supervisor::run_folder::{read_records, read_series};
use patchwork_supervisor::{
    ExecuteOptions, PipelineError, Plan, RunOutcome, Scope, Signals, execute,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

/// Says to this program that it is to be the worker.
const WORKER: &str = "PATCHWORK_TEST_WORKER";

/// Says to this program that it is to be a supervisor, and in which home folder.
const SUPERVISOR: &str = "PATCHWORK_TEST_SUPERVISOR";

/// No test but the others' worker: measures something fifty times a second, now and then a non-finite value, and warns
/// at the hundredth time.
#[test]
fn the_worker() {
    if std::env::var_os(WORKER).is_none() {
        return;
    }
    let work = |job: &Job, context: &Context| -> Result<Outcome, StageError> {
        let seconds = job.settings["seconds"].as_f64().unwrap_or(0.0);
        let begin = Instant::now();
        let process = std::process::id().to_string();
        std::fs::write(context.state().join("at-work"), process)?;
        let mut step = 0;
        while begin.elapsed().as_secs_f64() < seconds {
            if context.is_interrupted() {
                // A checkpoint takes its time.
                std::thread::sleep(Duration::from_millis(500));
                std::fs::write(context.state().join("checkpoint"), "")?;
                return Err(StageError::Interrupted);
            }
            step += 1;
            let is_number = step % 7 > 0;
            context.metric("loss", step, if is_number { 0.5 } else { f64::NAN });
            if step == 100 {
                context.warn("a hundred steps");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let end = [&job.settings, &job.execution].map(|part| part["end"].as_str());
        match end[0].or(end[1]) {
            Some("paused") => return Err(StageError::Paused("a limit".to_owned())),
            Some("failed") => return Err(std::io::Error::other("no luck").into()),
            _ => {}
        }
        std::fs::write(context.artifact().join("made"), "")?;
        Ok(Outcome::new(json!({ "steps": step }), Vec::new()))
    };
    let _ = worker::run(|_| Ok(()), work);
}

/// No test but a run of a long stage, for tests that send it signals.
#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor() {
    let Some(home) = std::env::var_os(SUPERVISOR) else {
        return;
    };
    let bench = Bench::open(Path::new(&home)).await;
    let stages = vec![stage("train", 60.0)];
    let outcome = bench.run(&program(), stages, |_| {}).await.unwrap();
    assert_eq!(outcome.signal, Some(15));
    assert_eq!(outcome.stages[0].status, StageStatus::Interrupted);
}

/// A program that is the worker, without arguments.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let name = format!("worker-{}.sh", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let this = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nexec '{}' --exact the_worker --nocapture\n",
            this.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    });
    program.clone()
}

fn stage(name: &str, seconds: f64) -> StageSpec {
    StageSpec {
        name: name.to_owned(),
        kind: "test".to_owned(),
        format_version: 1,
        needs: Vec::new(),
        settings: json!({ "name": name, "seconds": seconds }),
        execution: json!({ "environment": { WORKER: "1" } }),
        source: None,
        external: None,
        missing: Vec::new(),
        demand: Demand {
            cpus: Some(1),
            ..Demand::default()
        },
        retries: 0,
        timeout: None,
    }
}

/// Hands each update to a test.
struct Watcher<F>(F);

impl<F: FnMut(&Update)> Observer for Watcher<F> {
    fn update(&mut self, update: Update) {
        (self.0)(&update);
    }
}

/// A home folder in which pipelines called `test` run.
struct Bench {
    store: Store,
    registry: Registry,
}

impl Bench {
    async fn new() -> (TempDir, Self) {
        let home = tempfile::tempdir().unwrap();
        let bench = Self::open(home.path()).await;
        (home, bench)
    }

    async fn open(home: &Path) -> Self {
        let store = Store::open(home).unwrap();
        let registry = Registry::open(&store.registry()).await.unwrap();
        Self { store, registry }
    }

    async fn run(
        &self,
        worker: &Path,
        stages: Vec<StageSpec>,
        watch: impl FnMut(&Update),
    ) -> Result<RunOutcome, PipelineError> {
        self.run_forcing(&[], worker, stages, watch).await
    }

    async fn run_forcing(
        &self,
        force: &[&str],
        worker: &Path,
        stages: Vec<StageSpec>,
        watch: impl FnMut(&Update),
    ) -> Result<RunOutcome, PipelineError> {
        let spec = PipelineSpec {
            name: "test".to_owned(),
            definition: json!({}),
            stages,
        };
        let planning = self.store.lock_planning().unwrap();
        let force: Vec<String> = force.iter().map(|&stage| stage.to_owned()).collect();
        let plan = Plan::new(&spec, &self.store, Scope::All).unwrap();
        let plan = plan.forcing(&force, &BTreeSet::new()).unwrap();
        let options = ExecuteOptions {
            own_programs: std::collections::BTreeMap::new(),
            worker: worker.to_owned(),
            jobs: None,
            provenance: Provenance::collect(&[], self.store.home(), json!({})),
        };
        let (store, registry) = (&self.store, &self.registry);
        let caller = Caller {
            observer: &mut Watcher(watch),
            signals: &mut Signals::listen().unwrap(),
        };
        execute(&spec, &plan, planning, store, registry, &options, caller).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_for_a_while_is_written_once_and_ends_nothing() {
    let (_home, bench) = Bench::new().await;
    let logs = bench.store.logs("test-1");
    // A folder of its name keeps a file from being written, also by root.
    let (series, journal) = (logs.join("series.jsonl"), logs.join("journal.jsonl"));
    let aside = logs.join("aside");
    let mut recordings = Vec::new();
    let watch = |update: &Update| match update {
        Update::StageStarted { .. } => {
            std::fs::create_dir(&series).unwrap();
            let (series, journal, aside) = (series.clone(), journal.clone(), aside.clone());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(1200));
                std::fs::rename(&journal, &aside).unwrap();
                std::fs::create_dir(&journal).unwrap();
                std::thread::sleep(Duration::from_secs(2));
                std::fs::remove_dir(&journal).unwrap();
                std::fs::rename(&aside, &journal).unwrap();
                std::fs::remove_dir(&series).unwrap();
            });
        }
        Update::Recording(recording) => recordings.push(recording.clone()),
        _ => {}
    };
    let stages = vec![stage("train", 6.0)];
    let outcome = bench.run(&program(), stages, watch).await.unwrap();
    assert!(outcome.is_success() && outcome.is_recorded(), "{outcome:?}");
    let [Recording::Fails { cause }, Recording::Works { lost: 0 }] = recordings.as_slice() else {
        panic!("{recordings:?}")
    };
    assert!(cause.contains("series.jsonl"), "{cause}");

    let summary = &outcome.stages[0].outcome.as_ref().unwrap().summary;
    let last = summary["steps"].as_u64().unwrap();
    let points = read_series(&logs).unwrap();
    let step = |point: &Record| match point.event {
        Event::Metric { step, .. } => step,
        _ => panic!("{point:?}"),
    };
    let steps: Vec<u64> = points.iter().map(step).collect();
    assert_eq!(steps, (1..=last).collect::<Vec<u64>>());
    let journal = read_records(&logs).unwrap();
    assert_eq!(journal.unreadable, 0);
    let when = |wanted: fn(&Event) -> bool| {
        let mut found = journal
            .records
            .iter()
            .filter(|record| wanted(&record.event));
        let record = found.next().unwrap();
        assert!(found.next().is_none(), "it is recorded once");
        record.time.to_string()
    };
    let run = bench.registry.run("test-1").await.unwrap();
    assert_eq!(run.run.status, RunStatus::Succeeded);
    assert_eq!(run.metrics[0].count, i64::try_from(last).unwrap());
    assert_eq!((run.attempts.len(), run.events.len()), (1, 1));
    // Both say when it happened, not when it was written.
    assert_eq!(run.run.started, journal.started.to_string());
    let ended = when(|event| {
        *event
            == Event::RunEnded {
                status: RunStatus::Succeeded,
            }
    });
    assert_eq!(run.run.ended, Some(ended));
    let started = when(|event| matches!(event, Event::AttemptStarted { .. }));
    let (stage, attempt) = (&run.stages[0], &run.attempts[0]);
    assert_eq!(
        (stage.started.as_ref(), &attempt.started),
        (Some(&started), &started)
    );
    let stage_ended = when(|event| matches!(event, Event::StageEnded { .. }));
    assert_eq!(stage.ended, Some(stage_ended));
    let attempt_ended = when(|event| matches!(event, Event::AttemptEnded { .. }));
    assert_eq!(attempt.ended, Some(attempt_ended));
    let warned = when(|event| matches!(event, Event::Message { .. }));
    assert_eq!(run.events[0].time, warned);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_refuses_is_left_out_and_keeps_nothing_back() {
    let (_home, bench) = Bench::new().await;
    let registry = bench.registry.clone();
    let mut recordings = Vec::new();
    let watch = |update: &Update| match update {
        Update::RunStarted { .. } => {
            // The place of the first attempt's row is taken.
            let taken = Record {
                time: Timestamp::now(),
                stage: Some("train".to_owned()),
                attempt: Some(1),
                event: Event::AttemptStarted { pid: 7 },
            };
            let taken = [taken];
            let taken = registry.apply("test-1", &taken);
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(taken)).unwrap();
        }
        Update::Recording(recording) => recordings.push(recording.clone()),
        _ => {}
    };
    let stages = vec![stage("train", 1.5)];
    let outcome = bench.run(&program(), stages, watch).await.unwrap();
    assert!(outcome.is_success() && outcome.is_recorded(), "{outcome:?}");
    let [Recording::Refuses { cause }, Recording::Works { lost: 1 }] = recordings.as_slice() else {
        panic!("{recordings:?}")
    };
    assert!(cause.contains("constraint"), "{cause}");
    let run = bench.registry.run("test-1").await.unwrap();
    assert_eq!(run.run.status, RunStatus::Succeeded);
    assert_eq!(run.stages[0].status, StageStatus::Succeeded);
    assert!(run.stages[0].path.is_some(), "the artifact is recorded");
    assert!(run.metrics[0].count > 1);
    let journal = read_records(&bench.store.logs("test-1")).unwrap();
    let messages: Vec<&str> = (journal.records.iter())
        .filter_map(|record| match &record.event {
            Event::Message { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert!(
        matches!(messages.as_slice(), [refusal] if refusal.contains("constraint")),
        "{messages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_which_one_stage_paused_and_another_failed_has_failed() {
    let (_home, bench) = Bench::new().await;
    let ending = |name: &str| StageSpec {
        settings: json!({ "name": name, "end": name }),
        ..stage(name, 0.0)
    };
    for (names, status) in [
        (["paused", "other"], RunStatus::Interrupted),
        (["paused", "failed"], RunStatus::Failed),
    ] {
        let stages: Vec<StageSpec> = names.map(ending).into();
        let outcome = bench.run(&program(), stages, |_| {}).await.unwrap();
        let run = bench.registry.run(&outcome.run).await.unwrap();
        assert_eq!(run.run.status, status, "{outcome:?}");
        assert_eq!(outcome.is_paused(), status == RunStatus::Interrupted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_cannot_be_written_at_the_end_is_told_with_the_result() {
    let (home, bench) = Bench::new().await;
    let series = bench.store.logs("test-1").join("series.jsonl");
    let watch = |update: &Update| {
        if let Update::StageStarted { .. } = update {
            std::fs::create_dir(&series).unwrap();
        }
    };
    let stages = vec![stage("train", 1.0)];
    let outcome = bench.run(&program(), stages, watch).await.unwrap();
    assert!(
        outcome.is_success() && !outcome.is_recorded(),
        "{outcome:?}"
    );
    let cause = outcome.unrecorded.join(": ");
    assert!(cause.contains("series.jsonl"), "{cause}");
    // Each place is written for itself, and the artifact is published before.
    let run = bench.registry.run("test-1").await.unwrap();
    assert_eq!(run.run.status, RunStatus::Succeeded);
    let artifacts = home.path().join("artifacts/test").read_dir().unwrap();
    assert_eq!(artifacts.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_start_fails_its_own_stage() {
    let (_home, bench) = Bench::new().await;
    let logs = bench.store.logs("test-1");
    let late = StageSpec {
        retries: 1,
        ..stage("late", 0.0)
    };
    let stages = vec![stage("train", 3.0), stage("broken", 0.0), late];
    let watch = |update: &Update| match update {
        // No log can be opened where a folder stands.
        Update::RunStarted { .. } => {
            for name in ["broken.log", "late.log"] {
                std::fs::create_dir(logs.join(name)).unwrap();
            }
        }
        Update::StageRetried { stage, .. } => {
            assert_eq!(stage, "late");
            std::fs::remove_dir(logs.join("late.log")).unwrap();
        }
        _ => {}
    };
    let outcome = bench.run(&program(), stages, watch).await.unwrap();
    let statuses: Vec<StageStatus> = outcome.stages.iter().map(|stage| stage.status).collect();
    assert_eq!(
        statuses,
        [
            StageStatus::Succeeded,
            StageStatus::Failed,
            StageStatus::Succeeded
        ],
        "{outcome:?}"
    );
    let error = &outcome.stages[1].error;
    assert!(error[0].contains("broken.log"), "{error:?}");
    let run = bench.registry.run("test-1").await.unwrap();
    assert_eq!(run.run.status, RunStatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_before_it_reads_its_job_says_how() {
    let (_home, bench) = Bench::new().await;
    let stages = vec![stage("train", 0.0)];
    let outcome = bench.run(Path::new("/bin/false"), stages, |_| {}).await;
    let outcome = outcome.unwrap();
    let error = &outcome.stages[0].error;
    assert!(error[0].contains("ended without a result"), "{error:?}");
}

/// A supervisor in a process of its own, whose stage is at work; `start` is how the shell starts it.
fn supervise(home: &Path, start: &str) -> Child {
    let this = std::env::current_exe().unwrap();
    let script = format!("{start} '{}' --exact the_supervisor", this.display());
    let child = Command::new("sh")
        .args(["-c", &script])
        .env(SUPERVISOR, home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("work", || state(home, "at-work"));
    child
}

/// Whether the stage's folder of state has a file of that name.
fn state(home: &Path, name: &str) -> bool {
    state_of(home, name).is_some()
}

/// What the file of that name in the stage's folder of state holds.
fn state_of(home: &Path, name: &str) -> Option<String> {
    let folders = home.join("work").read_dir().ok()?;
    folders
        .flatten()
        .find_map(|folder| std::fs::read_to_string(folder.path().join("state").join(name)).ok())
}

/// SIGTERM to the worker alone.
fn ask_worker_to_stop(home: &Path) {
    let worker = || state_of(home, "at-work").filter(|text| !text.is_empty());
    wait_for("worker", || worker().is_some());
    let process = Pid::from_raw(worker().unwrap().parse().unwrap());
    kill_process(process.unwrap(), Signal::TERM).unwrap();
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether the supervisor ended as one that was asked to stop, after its stage's checkpoint.
fn stopped_in_order(mut child: Child, home: &Path) -> bool {
    child.wait().unwrap().success() && state(home, "checkpoint")
}

#[test]
fn one_wish_to_stop_may_come_as_two_signals() {
    let home = tempfile::tempdir().unwrap();
    let child = supervise(home.path(), "exec");
    send(&child, Signal::TERM);
    std::thread::sleep(Duration::from_millis(100));
    send(&child, Signal::TERM);
    assert!(stopped_in_order(child, home.path()));
}

#[test]
fn what_is_sent_to_a_whole_group_may_come_to_the_worker_first() {
    let home = tempfile::tempdir().unwrap();
    let child = supervise(home.path(), "exec");
    ask_worker_to_stop(home.path());
    // It has written its checkpoint by then.
    std::thread::sleep(Duration::from_millis(800));
    send(&child, Signal::TERM);
    assert!(stopped_in_order(child, home.path()));
}

#[test]
fn a_connection_that_is_gone_stops_a_run_in_order() {
    let home = tempfile::tempdir().unwrap();
    // The tests themselves may be under `nohup`.
    let child = supervise(home.path(), "exec env --default-signal=HUP");
    send(&child, Signal::HUP);
    assert!(stopped_in_order(child, home.path()));
}

#[test]
fn a_run_under_nohup_outlives_the_connection() {
    let home = tempfile::tempdir().unwrap();
    let mut child = supervise(home.path(), "trap '' HUP; exec");
    send(&child, Signal::HUP);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none() && !state(home.path(), "checkpoint"));
    send(&child, Signal::TERM);
    assert!(stopped_in_order(child, home.path()));
}

#[test]
fn a_worker_whose_supervisor_is_killed_comes_to_its_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let mut child = supervise(home.path(), "exec");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("checkpoint", || state(home.path(), "checkpoint"));
    let store = Store::open(home.path()).unwrap();
    wait_for("end of the worker", || {
        store.process_at_work().unwrap().is_none()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_somebody_else_asks_to_stop_is_started_again() {
    let (home, bench) = Bench::new().await;
    let retried = StageSpec {
        retries: 1,
        ..stage("train", 2.0)
    };
    let watch = |update: &Update| {
        if matches!(update, Update::StageStarted { attempt: 1, .. }) {
            let home = home.path().to_owned();
            std::thread::spawn(move || {
                ask_worker_to_stop(&home);
            });
        }
    };
    let outcome = bench.run(&program(), vec![retried], watch).await.unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    let run = bench.registry.run("test-1").await.unwrap();
    assert_eq!(run.attempts.len(), 2);
    let error = run.attempts[0].error.as_deref().unwrap_or_default();
    assert!(
        error.contains("asked to stop by another process"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_stage_keeps_its_artifact_until_the_new_one_is_published() {
    let (_home, bench) = Bench::new().await;
    let ending = |end: &str| {
        let execution = json!({ "environment": { WORKER: "1" }, "end": end });
        vec![StageSpec {
            execution,
            ..stage("train", 0.0)
        }]
    };
    let run = async |force: &[&str], end: &str| {
        let program = program();
        let outcome = bench.run_forcing(force, &program, ending(end), |_| {});
        outcome.await.unwrap().stages.remove(0)
    };
    let first = run(&[], "").await;
    assert_eq!(first.status, StageStatus::Succeeded);
    let replaced = bench.store.replaced(first.fingerprint);
    let is_kept = || replaced.join("made").is_file();

    let failed = run(&["train"], "failed").await;
    assert_eq!(failed.status, StageStatus::Failed);
    assert!(is_kept() && !first.folder.exists());
    // Forced once more, as by the same command, it resumes and the artifact is still kept.
    assert_eq!(run(&["train"], "failed").await.status, StageStatus::Failed);
    assert!(is_kept() && !first.folder.exists());
    let detail = bench.registry.run("test-2").await.unwrap();
    assert!(
        (detail.events.iter()).any(|event| event.message.contains("replaced-")),
        "{:?}",
        detail.events
    );

    assert_eq!(run(&[], "").await.status, StageStatus::Succeeded);
    assert!(!replaced.exists() && first.folder.join("made").is_file());
    assert_eq!(run(&[], "").await.status, StageStatus::Cached);
    assert_eq!(run(&["train"], "").await.status, StageStatus::Succeeded);
    assert!(!replaced.exists() && first.folder.join("made").is_file());
}
