//! A disk that fills, a home that cannot be written, a clock that goes back: a clear message, and nothing lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::program::{Program, differences};

const RUN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--until",
    "sample",
    "--set",
    "stages.train.duration_images=400",
];

/// A file system of the test's own, mounted at the program's home, where the system lets us; it is gone with the
/// shell that holds it.
struct Mounted<'a> {
    program: &'a Program,
    flags: &'static str,
}

impl<'a> Mounted<'a> {
    /// None where neither root nor a user's own name space may mount, as in some containers.
    fn try_new(program: &'a Program) -> Option<Self> {
        ["-m", "-Urm"].into_iter().find_map(|flags| {
            let mounted = Self { program, flags };
            mounted.shell("true").status.success().then_some(mounted)
        })
    }

    /// Runs a script with a file system of 800 kB at the home folder, which the trained network fills; `$RUN` is the
    /// command under test.
    fn shell(&self, script: &str) -> Output {
        let home = self.program.home().display();
        let script = format!("mount -t tmpfs -o size=800k none '{home}' && {{ {script}\n}}");
        let run = self.program.command(RUN);
        let words: Vec<String> = std::iter::once(run.get_program())
            .chain(run.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let mut command = Command::new("unshare");
        command
            .args([self.flags, "bash", "-c", &script])
            .env("RUN", words.join(" "))
            .env("HOME_FOLDER", self.program.home());
        for (name, value) in run.get_envs() {
            command.env(name, value.unwrap());
        }
        command.current_dir(run.get_current_dir().unwrap());
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_full_disk_and_a_home_that_cannot_be_written_are_told_and_made_up_for() {
    let undisturbed = Program::new();
    undisturbed.succeed(RUN);
    let program = Program::new();
    let Some(mounted) = Mounted::try_new(&program) else {
        // The only place where this is not tested; `just faults` fails every write in turn.
        eprintln!("nothing can be mounted here: the full disk was not tried");
        return;
    };
    let copy = tempfile::tempdir().unwrap();
    let output = mounted.shell(&format!(
        "eval $RUN 2> '{copy}/said' & run=$!
         for _ in {{1..1200}}; do ! grep -q 'waits for the disk' '{copy}/said' || break; sleep 0.1; done
         mount --bind \"$HOME_FOLDER/work\" \"$HOME_FOLDER/work\"
         mount -o remount,bind,ro \"$HOME_FOLDER/work\" && echo forbidden
         mount -o remount,size=400m \"$HOME_FOLDER\"
         sleep 15; umount -l \"$HOME_FOLDER/work\"
         wait $run; echo waited $?
         mount -o remount,ro \"$HOME_FOLDER\"
         eval $RUN; echo read-only $?
         program=${{RUN%% \\'run\\'*}}
         for command in runs 'show latest' status 'query \"SELECT count(*) FROM runs\"'; do
             eval $program $command > '{copy}/listed' && grep -q 1 '{copy}/listed' && echo read \"$command\"
         done
         cat '{copy}/said' >&2
         cp -a \"$HOME_FOLDER/artifacts\" '{copy}'",
        copy = copy.path().display()
    ));
    let printed = String::from_utf8_lossy(&output.stdout);
    let messages = said(&output);
    for line in [
        "forbidden",
        "waited 0",
        "read-only 1",
        "read runs",
        "read show",
        "read status",
        "read query",
    ] {
        assert!(printed.contains(line), "`{line}`: {printed}\n{messages}");
    }
    for words in [
        "waits for the disk",
        "No space left",
        "the disk takes what is written again",
        "Read-only file system",
    ] {
        assert!(messages.contains(words), "`{words}`: {messages}");
    }
    assert!(!messages.contains("panicked"), "{messages}");
    let made = crate::program::files(&copy.path().join("artifacts"));
    let expected = crate::program::files(&undisturbed.home().join("artifacts"));
    assert_eq!(differences(&expected, &made), Vec::<PathBuf>::new());
}

/// Holds SQLite's lock for writing for longer than anybody waits for it.
const LOCK: &str = r#"
import sqlite3, sys, time
registry = sqlite3.connect(sys.argv[1], isolation_level=None)
registry.execute("BEGIN IMMEDIATE")
time.sleep(13)
registry.execute("ROLLBACK")
"#;

#[test]
fn a_registry_that_is_locked_for_a_while_ends_no_training() {
    let program = Program::new();
    let long = "stages.train.duration_images=40000";
    let child = program.start(&["run", "pipelines/smoke.toml", "--set", long]);
    let registry = program.home().join("registry.db");
    let losses = "SELECT step FROM metrics WHERE name = 'loss'";
    let begin = Instant::now();
    while !program.home().join("logs/smoke-1/train.log").exists()
        || program.rows(&["query", losses]).is_empty()
    {
        assert!(
            begin.elapsed() < Duration::from_mins(2),
            "training does not begin"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let locked = Command::new("python3")
        .args(["-c", LOCK])
        .arg(&registry)
        .status();
    assert!(locked.unwrap().success());
    // Somewhat more than the pause between two attempts at writing.
    std::thread::sleep(Duration::from_secs(3));
    let terminated = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(terminated.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let messages = said(&output);
    assert_eq!(output.status.code(), Some(143), "{messages}");
    for words in [
        "events cannot be recorded",
        "database is locked",
        "the events since then are recorded",
    ] {
        assert!(messages.contains(words), "`{words}`: {messages}");
    }
    let attempts = program.rows(&[
        "query",
        "SELECT number, exit FROM attempts WHERE stage = 'train'",
    ]);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0]["exit"], "interrupted");
    // The series of the run's folder and those of the registry are the same, and hold each point once.
    let points = program.rows(&["query", "SELECT COUNT(*) AS points FROM metrics"]);
    let series = std::fs::read_to_string(program.home().join("logs/smoke-1/series.jsonl")).unwrap();
    let lines = series.lines().filter(|line| line.contains("\"value\""));
    assert_eq!(points[0]["points"], lines.count());
}

/// A library that moves what programs take for the time of day, by `CLOCK_SHIFT` seconds.
const SHIFTED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *shift = getenv("CLOCK_SHIFT");
    if (clock == CLOCK_REALTIME && shift) now->tv_sec += atol(shift);
    return result;
}
"#;

fn build_shifted_clock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, SHIFTED_CLOCK).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(status.success());
    library
}

#[test]
fn a_clock_set_back_changes_no_byte_and_no_order() {
    let folder = tempfile::tempdir().unwrap();
    let library = build_shifted_clock(folder.path());
    let undisturbed = Program::new();
    undisturbed.succeed(RUN);
    let program = Program::new();
    let at = |shift: &str| {
        let mut command = program.command(RUN);
        command
            .env("LD_PRELOAD", &library)
            .env("CLOCK_SHIFT", shift);
        command
    };
    let mut tomorrow = at("86400").spawn().unwrap();
    let train = program.home().join("logs/smoke-1/train.log");
    while !train.exists() && tomorrow.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    tomorrow.kill().unwrap();
    tomorrow.wait().unwrap();
    let output = at("-86400").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        differences(&undisturbed.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
    let runs = program.rows(&[
        "query",
        "SELECT name, status, started < (SELECT started FROM runs WHERE id = 1) AS earlier FROM runs ORDER BY id",
    ]);
    assert_eq!(runs[0]["status"], "interrupted");
    assert_eq!(runs[1]["status"], "succeeded");
    assert_eq!(runs[1]["earlier"], 1, "the clock was not set back");
    let listed = program.rows(&["runs"]);
    assert_eq!(
        listed[0]["run"], "smoke-2",
        "newest first, whatever the clock says"
    );
}

/// Makes the first run one whose supervisor had the id that is given, and was killed.
const ABANDON: &str = r#"
import sqlite3, sys
registry = sqlite3.connect(sys.argv[1])
registry.execute("UPDATE runs SET status = 'running', ended = NULL, pid = ? WHERE id = 1", [int(sys.argv[2])])
registry.commit()
"#;

#[test]
fn a_dead_supervisor_with_the_id_of_this_one_is_known_to_be_dead() {
    const PREPARE: &[&str] = &["run", "pipelines/smoke.toml", "--until", "prepare"];
    let program = Program::new();
    program.succeed(PREPARE);
    // The shell's id is that of the program that it becomes, as a container's first process has always the same.
    let run = program.command(PREPARE);
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "python3 -c \"$1\" \"$2\" $$ && shift 2 && exec \"$@\"",
        ])
        .args(["sh", ABANDON])
        .arg(program.home().join("registry.db"))
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(run.get_current_dir().unwrap());
    for (name, value) in run.get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let runs = program.rows(&["query", "SELECT status FROM runs ORDER BY id"]);
    let statuses: Vec<&str> = (runs.iter())
        .map(|row| row["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["interrupted", "succeeded"]);
}
