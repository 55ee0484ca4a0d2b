//! Ranks that a launcher starts: a script that does as launchers do, and those that are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{
    Program, differences, files, has_checkpoint, processes, send, text, wait_for_checkpoint, with,
    workspace,
};

const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];

const SETTINGS: &[&str] = &[
    "stages.train.threads=1",
    "stages.train.retries=9",
    "stages.train.checkpoint_kimg=0.1",
];

/// Whether a program is there.
fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// What a test of ranks that a launcher starts does, for some launcher with so many ranks; `variables` are those of the
/// command line.
struct Trial {
    launch: String,
    ranks: usize,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Trial {
    fn of_script(ranks: usize) -> Self {
        let script = workspace().join("tests/support/launch.sh");
        Self {
            launch: format!("'{}' {ranks}", script.display()),
            ranks,
            variables: Vec::new(),
        }
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("stages.train.launch={:?}", self.launch)]
    }

    fn command(&self, program: &Program) -> Command {
        let own = self.settings();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let mut command = program.command(&with(TRAIN, &[SETTINGS, &own].concat()));
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    fn succeed(&self, program: &Program) {
        let output = self.command(program).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}\n{}",
            self.launch,
            String::from_utf8_lossy(&output.stderr),
            log(program)
        );
    }

    /// The bytes are those of as many ranks that the supervisor starts itself.
    fn trains_as_without_a_launcher(&self, expected: &Program) {
        let program = Program::new();
        self.succeed(&program);
        self.compare(expected, &program);
        wait_for_nobody(&program, &self.launch);
    }

    /// Another attempt follows the death of a rank's worker, one that hangs, and the death of the process that follows it
    /// for the supervisor, of the first rank and of the last.
    fn loses_no_bytes_with_a_rank(&self, expected: &Program) {
        let last = self.ranks - 1;
        for (victim, rank, signal) in [
            ("patchwork-worker", 0, "KILL"),
            ("patchwork-worker", last, "KILL"),
            ("patchwork-worker", last, "STOP"),
            ("rank", 0, "KILL"),
            ("rank", last, "KILL"),
        ] {
            let story = format!("{}: {signal} to {victim} of rank {rank}", self.launch);
            let program = Program::new();
            let mut command = self.command(&program);
            if signal == "STOP" {
                command.args(["--set", "stages.train.collective_timeout_minutes=0.4"]);
            }
            let mut child = command.spawn().unwrap();
            wait_for_checkpoint(&mut child, &program);
            send(signal, &self.process(&program, victim, rank));
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "{story}: {said}\n{}",
                log(&program)
            );
            let attempts = program.rows(&[
                "query",
                "SELECT error FROM attempts WHERE error IS NOT NULL",
            ]);
            assert_eq!(attempts.len(), 1, "{story}: {attempts:?}");
            let cause = attempts[0]["error"].to_string();
            let named = match (victim, signal) {
                (_, "STOP") => cause.contains(&format!("rank {rank} ")),
                ("rank", _) => {
                    let is_lost = cause.contains("was killed (signal 9)");
                    cause.contains("rank ") && (is_lost || cause.contains("it was lost"))
                }
                _ => {
                    let of_rank = cause.contains(&format!("rank {rank}"));
                    of_rank && cause.contains("was killed (signal 9)")
                }
            };
            assert!(named, "{story}: {cause}");
            self.compare(expected, &program);
            wait_for_nobody(&program, &story);
        }
    }

    /// SIGTERM to a rank stops all of them in order, with a checkpoint.
    fn stops_with_a_rank(&self, expected: &Program) {
        for (victim, rank) in [("patchwork-worker", 0), ("rank", self.ranks - 1)] {
            let story = format!("{}: TERM to {victim} of rank {rank}", self.launch);
            let program = Program::new();
            let mut child = self.command(&program).spawn().unwrap();
            wait_for_checkpoint(&mut child, &program);
            send("TERM", &self.process(&program, victim, rank));
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{story}: it ended too soon");
            let failed = "SELECT error FROM attempts WHERE error IS NOT NULL";
            let failed = program.rows(&["query", failed]);
            assert!(failed.is_empty(), "{story}: {failed:?}\n{said}");
            wait_for_nobody(&program, &story);
            self.succeed(&program);
            self.compare(expected, &program);
        }
    }

    /// The process of a rank.
    fn process(&self, program: &Program, name: &str, rank: usize) -> String {
        let all = processes(program.home(), name);
        assert_eq!(all.len(), self.ranks, "{name}: {all:?}");
        let mut all = all.into_iter();
        all.find(|process| rank_of(process) == Some(rank)).unwrap()
    }

    /// A run whose supervisor is killed, or asked to stop, resumes.
    fn outlives_its_supervisor(&self, expected: &Program) {
        for signal in ["KILL", "TERM"] {
            let program = Program::new();
            let mut child = self.command(&program).spawn().unwrap();
            wait_for_checkpoint(&mut child, &program);
            send(signal, &child.id().to_string());
            let status = child.wait().unwrap();
            assert!(!status.success(), "{signal}: it ended too soon");
            if signal == "TERM" {
                assert_eq!(status.code(), Some(143));
                wait_for_nobody(&program, &self.launch);
            }
            // At once: what is left of the killed one ends beside it.
            self.succeed(&program);
            self.compare(expected, &program);
            wait_for_nobody(&program, &self.launch);
            assert_eq!(leftovers(&program), Vec::<PathBuf>::new(), "{signal}");
        }
    }

    fn compare(&self, expected: &Program, found: &Program) {
        assert_eq!(
            differences(&expected.artifacts(), &found.artifacts()),
            Vec::<PathBuf>::new(),
            "{}",
            self.launch
        );
    }
}

/// The rank that a process is, by its launcher's variables.
fn rank_of(process: &str) -> Option<usize> {
    let environment = std::fs::read(Path::new("/proc").join(process).join("environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let value = |name: &str| {
        let mut entries = environment.split('\0');
        let value = entries.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
        value?.parse().ok()
    };
    let names = ["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"];
    names.into_iter().find_map(value)
}

/// Says that a launcher is not there; fails where it has to be.
fn skip(launcher: &str, missing: &str) {
    let needed = std::env::var("PATCHWORK_REQUIRE_LAUNCHERS").unwrap_or_default();
    let is_needed = needed.split(',').any(|name| name == launcher);
    assert!(
        !is_needed,
        "PATCHWORK_REQUIRE_LAUNCHERS={needed}: {missing}"
    );
    eprintln!("skipped: {missing}");
}

/// Trains with so many ranks that the supervisor starts itself.
fn trained(ranks: usize) -> Program {
    let program = Program::new();
    let ranks = format!("stages.train.ranks={ranks}");
    program.succeed(&with(TRAIN, &[SETTINGS, &[&ranks]].concat()));
    program
}

/// The log of the last training.
fn log(program: &Program) -> String {
    let logs = program.home().join("logs");
    let mut runs: Vec<PathBuf> = std::fs::read_dir(logs)
        .into_iter()
        .flatten()
        .map(|run| run.unwrap().path())
        .collect();
    runs.sort();
    let log = runs.last().map(|run| run.join("train.log"));
    log.and_then(|log| std::fs::read_to_string(log).ok())
        .unwrap_or_default()
}

/// What attempts of several ranks have left in the folders of runs.
fn leftovers(program: &Program) -> Vec<PathBuf> {
    let all = files(&program.home().join("logs"));
    let of_ranks = |path: &PathBuf| path.to_string_lossy().contains(".ranks-");
    all.into_keys().filter(of_ranks).collect()
}

/// Waits until no process is left that works in a home folder.
fn wait_for_nobody(program: &Program, launch: &str) {
    let begin = Instant::now();
    loop {
        let left = processes(program.home(), "patchwork");
        if left.is_empty() {
            return;
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_mins(1), "{launch}: {left:?} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_launcher_starts_the_ranks() {
    let expected = trained(2);
    let trial = Trial::of_script(2);
    trial.trains_as_without_a_launcher(&expected);
    trial.loses_no_bytes_with_a_rank(&expected);
    trial.stops_with_a_rank(&expected);
    trial.outlives_its_supervisor(&expected);
}

#[test]
fn a_launcher_that_starts_something_else_is_reported() {
    let refused = |launch: &str, setting: &str| {
        let program = Program::new();
        let launch = format!("stages.train.launch={launch:?}");
        let settings = ["stages.train.threads=1", &launch, setting];
        let output = program.run(&with(TRAIN, &settings));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let script = workspace().join("tests/support/launch.sh");
    let script = text(&script);
    for (launch, setting, words) in [
        (
            format!("'{script}' 2"),
            "stages.train.ranks=3",
            "`launch` starts 2 ranks, and `ranks` is 3",
        ),
        (
            format!("'{script}' 3"),
            "stages.train.batch_size=2",
            "`launch` starts 3 ranks, more than the 2 images of a micro-batch",
        ),
        (
            "no-such-launcher -n 2".to_owned(),
            "stages.train.retries=0",
            "`no-such-launcher -n 2` started no rank (exit status: 127)",
        ),
        (
            "true".to_owned(),
            "stages.train.retries=0",
            "`true` started no rank",
        ),
        // No launcher: the program is started without the variables of a rank.
        (
            "env".to_owned(),
            "stages.train.retries=0",
            "`env` started no rank",
        ),
    ] {
        let said = refused(&launch, setting);
        assert!(said.contains(words), "{launch}: {said}");
    }
}

#[test]
fn mpirun_starts_the_ranks() {
    if !is_installed("mpirun") {
        skip("mpirun", "no mpirun is installed");
        return;
    }
    let help = Command::new("mpirun").arg("--version").output().unwrap();
    let is_open_mpi = String::from_utf8_lossy(&help.stdout).contains("Open MPI");
    let options = if is_open_mpi {
        "--allow-run-as-root --oversubscribe --bind-to none "
    } else {
        ""
    };
    let trial = Trial {
        launch: format!("mpirun {options}-n 2"),
        ranks: 2,
        variables: Vec::new(),
    };
    let expected = trained(2);
    trial.trains_as_without_a_launcher(&expected);
    trial.loses_no_bytes_with_a_rank(&expected);
    trial.stops_with_a_rank(&expected);
    trial.outlives_its_supervisor(&expected);
}

#[test]
fn torchrun_starts_the_ranks() {
    if !is_installed("torchrun") {
        skip("torchrun", "no torchrun is installed");
        return;
    }
    let trial = Trial {
        launch: "torchrun --standalone --no-python --nproc-per-node=2".to_owned(),
        ranks: 2,
        variables: Vec::new(),
    };
    let expected = trained(2);
    trial.trains_as_without_a_launcher(&expected);
    trial.loses_no_bytes_with_a_rank(&expected);
    trial.stops_with_a_rank(&expected);
    trial.outlives_its_supervisor(&expected);
}

/// A Slurm cluster on this machine, ended with the test.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let output = cluster.script("up").output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        cluster
    }

    fn script(&self, action: &str) -> Command {
        let mut command = Command::new(workspace().join("tests/support/slurm-cluster.sh"));
        command.args([action, text(self.folder.path())]);
        command.stdin(Stdio::null());
        command
    }

    /// What a command of Slurm prints.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.configuration())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.script("down").status();
    }
}

/// A cluster, where Slurm is installed.
fn cluster() -> Option<Cluster> {
    let is_there = ["slurmctld", "slurmd", "munged"]
        .iter()
        .all(|daemon| Path::new("/usr/sbin").join(daemon).is_file());
    if is_there && is_installed("srun") {
        return Some(Cluster::start());
    }
    skip(
        "slurm",
        "Slurm is not installed (slurmctld slurmd slurm-client munge)",
    );
    None
}

#[test]
fn srun_starts_the_ranks() {
    let Some(cluster) = cluster() else { return };
    let trial = Trial {
        launch: "srun --quiet --nodes=2 --ntasks=4 --mem-per-cpu=900 --kill-on-bad-exit=1 --wait=0"
            .to_owned(),
        ranks: 4,
        variables: vec![("SLURM_CONF", cluster.configuration())],
    };
    let expected = trained(4);
    trial.trains_as_without_a_launcher(&expected);
    trial.loses_no_bytes_with_a_rank(&expected);
    trial.stops_with_a_rank(&expected);
    trial.outlives_its_supervisor(&expected);
    a_job_requeues_itself(&cluster);
}

/// The script that docs/how-to/cluster.md describes, whose time is nearly up.
fn a_job_requeues_itself(cluster: &Cluster) {
    let expected = trained(2);
    let program = Program::new();
    let output = program.home().join("job.log");
    let output = format!("--output={}", output.display());
    let script = [
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=2",
        "--mem-per-cpu=450",
        &output,
    ];
    let run = with(&TRAIN[1..], SETTINGS);
    let submitted = Command::new("sbatch")
        .args(["--parsable", "--time=60"])
        .args(script)
        .arg("scripts/cluster.sbatch")
        .args(run)
        .current_dir(workspace())
        .env("SLURM_CONF", cluster.configuration())
        .env("PATCHWORK", env!("CARGO_BIN_EXE_patchwork"))
        .env("PATCHWORK_HOME", program.home())
        .output()
        .unwrap();
    let job = String::from_utf8(submitted.stdout)
        .unwrap()
        .trim()
        .to_owned();
    let job = job.as_str();
    let state = || cluster.ask("squeue", &["--noheader", "--format=%T", "--jobs", job]);
    let log = || std::fs::read_to_string(program.home().join("job.log")).unwrap_or_default();
    let begin = Instant::now();
    while !has_checkpoint(program.home()) {
        assert!(
            begin.elapsed() < Duration::from_mins(2),
            "{}: {}",
            state(),
            log()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    cluster.ask("scancel", &["--batch", "--signal=USR1", job]);
    while ["PENDING", "RUNNING", "COMPLETING"].contains(&state().as_str()) {
        assert!(
            begin.elapsed() < Duration::from_mins(4),
            "{}: {}",
            state(),
            log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = cluster.ask("scontrol", &["show", "job", job]);
    assert!(
        ended.contains("Restarts=1") && ended.contains("ExitCode=0:0"),
        "{ended}\n{}",
        log()
    );
    assert_eq!(
        differences(&expected.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
    let runs = program.rows(&["query", "SELECT status FROM runs ORDER BY id"]);
    let found: Vec<&str> = runs
        .iter()
        .filter_map(|run| run["status"].as_str())
        .collect();
    assert_eq!(found, ["interrupted", "succeeded"]);
}

#[test]
fn a_job_that_starts_again_forces_nothing() {
    let command_of = |restarts: &str| {
        let output = Command::new("bash")
            .arg("scripts/cluster.sbatch")
            .args([
                "mine.toml",
                "--force",
                "train",
                "--force=sample",
                "--device",
                "cuda",
            ])
            .current_dir(workspace())
            .env("SLURM_RESTART_COUNT", restarts)
            .env("PATCHWORK", "echo")
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let own = "--set stages.train.launch=\"srun --kill-on-bad-exit=1 --wait=0\"";
    assert_eq!(
        command_of("0"),
        format!("run mine.toml --force train --force=sample --device cuda {own}\n")
    );
    assert_eq!(
        command_of("1"),
        format!("run mine.toml --device cuda {own}\n")
    );
}
