//! A disk that fills, a home that cannot be written, a clock that goes back: a clear message, and nothing lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
        "eval $RUN; echo full $?
         mount -o remount,size=400m \"$HOME_FOLDER\"
         eval $RUN; echo mended $?
         mount -o remount,ro \"$HOME_FOLDER\"
         eval $RUN; echo read-only $?
         cp -a \"$HOME_FOLDER/artifacts\" '{}'",
        copy.path().display()
    ));
    let printed = String::from_utf8_lossy(&output.stdout);
    let messages = said(&output);
    for line in ["full 1", "mended 0", "read-only 1"] {
        assert!(printed.contains(line), "`{line}`: {printed}\n{messages}");
    }
    for words in ["No space left", "Read-only file system"] {
        assert!(messages.contains(words), "`{words}`: {messages}");
    }
    assert!(!messages.contains("panicked"), "{messages}");
    let made = crate::program::files(&copy.path().join("artifacts"));
    let expected = crate::program::files(&undisturbed.home().join("artifacts"));
    assert_eq!(differences(&expected, &made), Vec::<PathBuf>::new());
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
        std::thread::sleep(std::time::Duration::from_millis(10));
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
