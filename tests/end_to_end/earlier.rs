//! A home folder that an earlier version wrote: read, rebuilt and resumed, whatever has changed since.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Program, text, workspace};

/// Where the folder is described, and the pipeline that it was made of.
const FIXTURE: &str = "tests/fixtures/0.1.0-e310d9c";

/// As the runs were started, but for the settings of each.
const RUN: [&str; 4] = [
    "--weights",
    "tests/fixtures/torchscript",
    "run",
    "tests/fixtures/0.1.0-e310d9c/small.toml",
];

/// Runs with checkpoints of an unfinished training, and how long each was to be.
const UNFINISHED: [(&str, &str); 2] = [
    ("small-4", "stages.train.duration_images=1600"),
    ("small-5", "stages.train.duration_images=2000"),
];

/// What the registry knows, but for what another opening of it changes.
const QUESTIONS: [(&str, &str); 10] = [
    (
        "runs",
        "SELECT name, pipeline, number, status, started, ended, pid, command, working_folder, git_revision, git_dirty,
                host, cpu, threads, gpus, versions, definition
         FROM runs ORDER BY name",
    ),
    (
        "stages",
        "SELECT runs.name AS run, stages.name, kind, position, stages.status, fingerprint, artifact, stages.started,
                stages.ended
         FROM stages JOIN runs ON runs.id = run_id ORDER BY run, position",
    ),
    (
        "attempts",
        "SELECT runs.name AS run, stage, attempts.number, attempts.pid, attempts.host, attempts.started, attempts.ended,
                exit, error, cpu_seconds, peak_memory_bytes
         FROM attempts JOIN runs ON runs.id = run_id ORDER BY run, attempts.started",
    ),
    (
        "artifacts",
        "SELECT fingerprint, kind, path, bytes, summary FROM artifacts ORDER BY fingerprint",
    ),
    (
        "inputs",
        "SELECT * FROM stage_inputs ORDER BY fingerprint, role, input",
    ),
    (
        "params",
        "SELECT runs.name AS run, key, value FROM params JOIN runs ON runs.id = run_id ORDER BY run, key",
    ),
    (
        "metrics",
        "SELECT run, stage, name, step, value, time FROM metrics ORDER BY run, stage, name, step",
    ),
    (
        "summaries",
        "SELECT runs.name AS run, stage, metric_summary.name, count, last_step, last, min, max
         FROM metric_summary JOIN runs ON runs.id = run_id ORDER BY run, stage, metric_summary.name",
    ),
    (
        "scores",
        "SELECT run, stage, subject, metric, value, deviation, images_seen, samples, seeds, extractor, extractor_hash,
                resize, codec, reference, reference_images, reference_foreign, time
         FROM fid_history ORDER BY run, subject, metric",
    ),
    (
        "events",
        "SELECT runs.name AS run, stage, level, message, time
         FROM events JOIN runs ON runs.id = run_id ORDER BY run, events.id",
    ),
];

/// The folder as it was left, and what its version answered about it.
struct Earlier {
    program: Program,
    answers: TempDir,
}

impl Earlier {
    fn unpack() -> Self {
        let (program, answers) = (Program::new(), tempfile::tempdir().unwrap());
        let archive = workspace().join(FIXTURE).join("home.tar.gz");
        for (part, folder) in [("home", program.home()), ("answers", answers.path())] {
            let status = Command::new("tar")
                .args(["-xzf", text(&archive), "-C", text(folder)])
                .args(["--strip-components=1", part])
                .status()
                .unwrap();
            assert!(status.success());
        }
        Self { program, answers }
    }

    /// Compares the present answer of a command with the one of that name.
    fn check(&self, name: &str, command: &[&str]) {
        self.check_but_for(name, command, |_| false);
    }

    /// The same, where the program leaves out of a list today what it had then.
    fn check_but_for(&self, name: &str, command: &[&str], is_left_out: impl Fn(&Value) -> bool) {
        let answer = self
            .program
            .succeed(&[command, &["--format", "json"]].concat());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let path = self.answers.path().join(format!("{name}.json"));
        let mut expected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        if let Value::Array(rows) = &mut expected {
            rows.retain(|row| !is_left_out(row));
        }
        check(&answer, &expected, name);
    }

    fn check_registry(&self) {
        for (name, question) in QUESTIONS {
            self.check(name, &["query", question]);
        }
    }

    /// Each stage of the run that a command makes, with its status.
    fn run(&self, settings: &[&str]) -> Vec<(String, String)> {
        let rows = self.program.rows(&[&RUN, settings].concat());
        let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        rows.iter()
            .map(|row| (field(row, "stage"), field(row, "status")))
            .collect()
    }
}

/// A program whose home folder is that of the earlier version.
pub(crate) fn home() -> Program {
    Earlier::unpack().program
}

/// Whether an answer says all that is expected; it may say more of an object.
fn check(answer: &Value, expected: &Value, place: &str) {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => {
            for (field, value) in expected {
                let place = format!("{place}.{field}");
                let Some(own) = answer.get(field) else {
                    panic!("{place} is missing")
                };
                check(own, value, &place);
            }
        }
        (Value::Array(answer), Value::Array(expected)) => {
            assert_eq!(answer.len(), expected.len(), "{place}: {answer:?}");
            for (number, (own, value)) in answer.iter().zip(expected).enumerate() {
                check(own, value, &format!("{place}[{number}]"));
            }
        }
        _ => assert_eq!(answer, expected, "{place}"),
    }
}

/// The lowest and the highest step of the loss that a run recorded.
fn steps(program: &Program, run: &str) -> (i64, i64) {
    let sql = format!(
        "SELECT MIN(step) AS first, MAX(step) AS last FROM metrics WHERE run = '{run}' AND name = 'loss'"
    );
    let row = &program.rows(&["query", &sql])[0];
    let step = |name: &str| row[name].as_i64().unwrap();
    (step("first"), step("last"))
}

/// The folder in which an unfinished stage of a run works.
fn work(program: &Program, run: &str) -> PathBuf {
    let sql = format!(
        "SELECT fingerprint FROM stages JOIN runs ON runs.id = run_id WHERE runs.name = '{run}' AND stages.name = 'train'"
    );
    let rows = program.rows(&["query", &sql]);
    let fingerprint = rows[0]["fingerprint"].as_str().unwrap();
    program.home().join("work").join(fingerprint)
}

/// How many checkpoints an unfinished training has.
fn checkpoints(work: &Path) -> usize {
    let files = std::fs::read_dir(work.join("state")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".safetensors")).count()
}

#[test]
fn an_earlier_home_is_read() {
    let earlier = Earlier::unpack();
    for run in [
        "small-1", "small-2", "small-3", "small-4", "small-5", "sweep-1", "sweep-2",
    ] {
        earlier.check(&format!("show-{run}"), &["show", run]);
    }
    earlier.check("listing", &["runs"]);
    earlier.check("compare", &["compare", "small-1", "small-2"]);
    earlier.check("compare-sweep", &["compare", "sweep-1", "sweep-2"]);
    earlier.check("ranking", &["compare", "--metric", "fd_tiny"]);
    // It keeps what can be resumed since then, and what that is made from.
    earlier.check_but_for("gc", &["gc", "--keep", "1"], |row| {
        ["small-3", "small-4"]
            .map(Value::from)
            .contains(&row["run"])
    });
    earlier.check_registry();
}

#[test]
fn an_earlier_registry_is_rebuilt_from_its_folders() {
    let earlier = Earlier::unpack();
    for file in ["registry.db", "registry.db-wal"] {
        std::fs::remove_file(earlier.program.home().join(file)).unwrap();
    }
    earlier.program.succeed(&["registry", "rebuild"]);
    earlier.check_registry();
    // A rebuilt registry resumes as the old one did.
    let stages = earlier.run(&[]);
    assert!(stages.iter().all(|(_, status)| status == "cached"));
    assert_eq!(earlier.program.rows(&["runs"])[0]["run"], "small-6");
}

#[test]
fn what_an_earlier_version_finished_is_cached() {
    let earlier = Earlier::unpack();
    let stages = earlier.run(&[]);
    let names: Vec<&str> = stages.iter().map(|(stage, _)| stage.as_str()).collect();
    assert_eq!(
        names,
        ["prepare", "reference", "train", "sample", "evaluate"]
    );
    assert!(
        stages.iter().all(|(_, status)| status == "cached"),
        "{stages:?}"
    );
    // What its version wrote is whole to this one.
    let prepared = earlier.program.artifact("prepare");
    earlier
        .program
        .succeed(&["dataset", "verify", text(&prepared)]);
}

#[test]
fn a_training_that_an_earlier_version_left_is_resumed() {
    let earlier = Earlier::unpack();
    for (number, (run, duration)) in UNFINISHED.into_iter().enumerate() {
        let program = &earlier.program;
        let folder = work(program, run);
        assert_eq!(checkpoints(&folder), 2);
        let (first, last) = steps(program, run);
        let settings = ["--until", "train", "--set", duration];
        let settings = [&settings[..], &["--set", "stages.train.snapshot_images=[]"]].concat();
        let stages = earlier.run(&settings);
        assert_eq!(stages[0].1, "cached", "{stages:?}");
        assert_eq!(stages[1].1, "succeeded", "{stages:?}");
        assert!(!folder.exists(), "the work is an artifact");
        let (resumed, end) = steps(program, &format!("small-{}", 6 + number));
        assert!(
            first < 300 && resumed > 400 && end > last,
            "{run}: {first} to {last}, then {resumed} to {end}"
        );
    }
}
