//! A home folder in which something is wrong: every command works or names the cause, ends, and leaves everything
//! outside of the home as it is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::program::{Program, text};

const SMOKE: &str = "pipelines/smoke.toml";

/// Something that is wrong.
struct Fault {
    name: &'static str,
    /// Puts it into the home; the other folder lies outside.
    plant: fn(&Path, &Path),
    /// One of these is in what a command says that fails for it; none: no command fails.
    reported: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "stray files",
        plant: |home, _| {
            for folder in [
                "artifacts",
                "artifacts/prepare",
                "work",
                "logs",
                "locks",
                "cache",
            ] {
                fs::write(home.join(folder).join(".DS_Store"), b"\0\x01").unwrap();
            }
            fs::write(home.join("logs/smoke-7"), b"a note").unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "an artifact without its manifest",
        plant: |home, _| fs::remove_file(artifact(home).join("manifest.json")).unwrap(),
        reported: &[],
    },
    Fault {
        name: "an empty manifest",
        plant: |home, _| fs::write(artifact(home).join("manifest.json"), b"").unwrap(),
        reported: &[],
    },
    Fault {
        name: "a manifest that is cut off",
        plant: |home, _| cut(&artifact(home).join("manifest.json")),
        reported: &[],
    },
    Fault {
        name: "a manifest of another artifact",
        plant: |home, _| {
            let manifest = artifact(home).join("manifest.json");
            replace(&manifest, &name_of(&artifact(home)), &"0".repeat(32));
        },
        reported: &[],
    },
    Fault {
        name: "an artifact that is a link to nowhere",
        plant: |home, outside| {
            let artifact = artifact(home);
            fs::remove_dir_all(&artifact).unwrap();
            symlink(outside.join("nowhere"), artifact).unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "a series that is not UTF-8",
        plant: |home, _| {
            fs::write(home.join("logs/smoke-1/series.jsonl"), b"\xff\xfe\n{}\n").unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "a copied folder of a run",
        plant: |home, _| {
            let copy = home.join("logs/smoke-1 copy");
            fs::create_dir(&copy).unwrap();
            fs::copy(journal(home), copy.join("journal.jsonl")).unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "a record of a run that is cut off",
        plant: |home, _| {
            let first = fs::read_to_string(journal(home)).unwrap();
            let first = first.lines().next().unwrap();
            fs::write(journal(home), &first[..first.len() / 2]).unwrap();
        },
        reported: &["smoke-1", "no run is called"],
    },
    Fault {
        name: "a journal without its end, in a registry that is made again",
        plant: |home, _| {
            let bytes = fs::read(journal(home)).unwrap();
            fs::write(journal(home), &bytes[..bytes.len() - 10]).unwrap();
            lose_registry(home);
        },
        reported: &["registry rebuild"],
    },
    Fault {
        name: "a journal with lines that are none, in a registry that is made again",
        plant: |home, _| {
            let mut bytes = fs::read(journal(home)).unwrap();
            bytes.extend(b"\xff\xfe\n{}\n[1\n");
            bytes.extend(fs::read(journal(home)).unwrap());
            fs::write(journal(home), bytes).unwrap();
            lose_registry(home);
        },
        reported: &["registry rebuild"],
    },
    Fault {
        name: "a journal that is a link",
        plant: |home, outside| {
            fs::remove_file(journal(home)).unwrap();
            symlink(outside.join("precious"), journal(home)).unwrap();
        },
        reported: &["smoke-1", "no run is called"],
    },
    Fault {
        name: "a record of an earlier version that is cut off",
        plant: |home, _| {
            fs::remove_file(journal(home)).unwrap();
            let record = "{\"format\": \"patchwork.run/1\", \"run\": \"smoke-1\", \"pipe";
            fs::write(home.join("logs/smoke-1/run.json"), record).unwrap();
        },
        reported: &["smoke-1", "no run is called"],
    },
    Fault {
        name: "names that lead outside, in a registry that is made again",
        plant: |home, _| {
            let folder = home.join("logs/evil-1");
            fs::create_dir(&folder).unwrap();
            let evil = folder.join("journal.jsonl");
            fs::copy(journal(home), &evil).unwrap();
            replace(&evil, "\"smoke-1\"", "\"evil-1\"");
            replace(&evil, "\"smoke\"", "\"evil\"");
            replace(&evil, "\"prepare\"", "\"../../../outside/prepare\"");
            lose_registry(home);
        },
        reported: &["registry rebuild", "evil-1"],
    },
    Fault {
        name: "values beyond all bounds and escapes, in a registry that is made again",
        plant: |home, _| {
            let (mut lines, mut planted) = (Vec::new(), Vec::new());
            for line in fs::read_to_string(journal(home)).unwrap().lines() {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                let event = record["event"].as_str().unwrap().to_owned();
                match event.as_str() {
                    "run_started" => {
                        record["provenance"]["host"] = "\u{1b}[2J\u{1b}]0;host\u{7}".into();
                        record["provenance"]["cpu"] = "\u{9b}31m".into();
                        planted.push(event);
                    }
                    "resources" => {
                        record["cpu_seconds"] = 1e308.into();
                        planted.push(event);
                    }
                    _ => {}
                }
                lines.push(record.to_string());
            }
            assert_eq!(planted, ["run_started", "resources"]);
            fs::write(journal(home), lines.join("\n") + "\n").unwrap();
            lose_registry(home);
        },
        reported: &["registry rebuild"],
    },
    Fault {
        name: "a link where unfinished content goes",
        plant: |home, outside| {
            for place in [
                "logs/smoke-1/.journal.jsonl.partial",
                "cache/.remembered.json.partial",
                "artifacts/.x.partial",
            ] {
                symlink(outside.join("precious"), home.join(place)).unwrap();
            }
        },
        reported: &[],
    },
    Fault {
        name: "a lock that is a link",
        plant: |home, outside| {
            let lock = home.join("locks/planning.lock");
            fs::remove_file(&lock).unwrap();
            symlink(outside.join("not-there"), lock).unwrap();
        },
        reported: &["planning.lock"],
    },
    Fault {
        name: "a lock that is a pipe",
        plant: |home, _| {
            let lock = home.join("locks/planning.lock");
            fs::remove_file(&lock).unwrap();
            pipe(&lock);
        },
        reported: &["planning.lock"],
    },
    Fault {
        name: "artifacts of a kind behind a link",
        plant: |home, outside| {
            fs::rename(home.join("artifacts/prepare"), outside.join("prepare")).unwrap();
            symlink(outside.join("prepare"), home.join("artifacts/prepare")).unwrap();
            fs::create_dir(outside.join("prepare").join("f".repeat(32))).unwrap();
            fs::write(
                outside.join("prepare").join("f".repeat(32)).join("thesis"),
                b"mine",
            )
            .unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "unfinished work behind a link",
        plant: |home, outside| {
            fs::remove_dir_all(home.join("work")).unwrap();
            fs::create_dir_all(outside.join("work").join("e".repeat(32))).unwrap();
            fs::create_dir_all(outside.join("work/discarded-photos")).unwrap();
            symlink(outside.join("work"), home.join("work")).unwrap();
        },
        reported: &["different disks"],
    },
    Fault {
        name: "folders of somebody's among unfinished work",
        plant: |home, _| {
            fs::create_dir_all(home.join("work/discarded-photos")).unwrap();
            fs::create_dir_all(home.join("work").join("e".repeat(32)).join("mine")).unwrap();
        },
        reported: &[],
    },
    Fault {
        name: "no registry",
        plant: |home, _| lose_registry(home),
        reported: &["registry rebuild"],
    },
    Fault {
        name: "an empty registry",
        plant: |home, _| {
            lose_registry(home);
            fs::write(home.join("registry.db"), b"").unwrap();
        },
        reported: &["registry rebuild"],
    },
    Fault {
        name: "a registry that is none",
        plant: |home, _| {
            lose_registry(home);
            fs::write(home.join("registry.db"), b"not a database".repeat(1000)).unwrap();
        },
        reported: &["registry.db"],
    },
    Fault {
        name: "a registry that is a pipe",
        plant: |home, _| {
            lose_registry(home);
            pipe(&home.join("registry.db"));
        },
        reported: &["registry.db"],
    },
    Fault {
        name: "a registry that is a folder",
        plant: |home, _| {
            lose_registry(home);
            fs::create_dir(home.join("registry.db")).unwrap();
        },
        reported: &["registry.db"],
    },
];

/// In this order in one home: first those that only look.
const COMMANDS: &[&[&str]] = &[
    &["runs"],
    &["show", "latest"],
    &["status"],
    &["logs", "latest"],
    &[
        "query",
        "SELECT name, host, cpu FROM runs",
        "--format",
        "table",
    ],
    &["doctor"],
    &["gc"],
    &["explain", SMOKE, "--until", "prepare"],
    &["run", SMOKE, "--until", "prepare", "--dry-run"],
    &["gc", "--apply"],
    &["registry", "rebuild"],
    &["runs"],
    &["show", "latest"],
    &["retry", "latest"],
    &["run", SMOKE, "--until", "prepare"],
    &["gc", "--apply", "--older-than", "0"],
];

/// What commands say that fail in a home without fault too: `retry`, and `doctor` where weights are missing.
const USUAL: &[&str] = &["nothing to retry", "disk space"];

#[test]
fn every_command_works_in_a_dirty_home_or_names_the_cause() {
    let program = Program::new();
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    for fault in FAULTS {
        let place = tempfile::tempdir().unwrap();
        let (home, outside) = (place.path().join("home"), place.path().join("outside"));
        copy(program.home(), &home);
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), b"precious").unwrap();
        (fault.plant)(&home, &outside);
        let before = listing(&outside);
        for command in COMMANDS {
            let output = within_a_minute(
                program.command(command).env("PATCHWORK_HOME", &home),
                &format!("{}: {command:?}", fault.name),
            );
            let [said, printed] =
                [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
            let context = format!(
                "{}: {command:?}: {}\n{said}\n{printed}",
                fault.name, output.status
            );
            assert!(
                matches!(output.status.code(), Some(0..=2)) && !said.contains("panicked"),
                "{context}"
            );
            let is_reported = |words: &&str| said.contains(words) || printed.contains(words);
            assert!(
                output.status.success() || fault.reported.iter().chain(USUAL).any(is_reported),
                "{context}"
            );
            let acts = |character: char| character.is_control() && !"\n\t".contains(character);
            assert!(
                !said.contains(acts) && !printed.contains(acts),
                "{context:?}"
            );
            if fault.name != "artifacts of a kind behind a link" || command[0] != "run" {
                assert_eq!(listing(&outside), before, "{context}");
            }
        }
    }
}

/// The one artifact.
fn artifact(home: &Path) -> PathBuf {
    let mut found = fs::read_dir(home.join("artifacts/prepare")).unwrap();
    found.next().unwrap().unwrap().path()
}

/// The records of the one run.
fn journal(home: &Path) -> PathBuf {
    home.join("logs/smoke-1/journal.jsonl")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Takes the second half of a file away.
fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn replace(path: &Path, old: &str, new: &str) {
    let content = fs::read_to_string(path).unwrap();
    assert!(content.contains(old), "{old}");
    fs::write(path, content.replace(old, new)).unwrap();
}

fn lose_registry(home: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.join(format!("registry.db{suffix}")));
    }
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    assert!(
        command
            .args(["-a", text(from), text(to)])
            .status()
            .unwrap()
            .success()
    );
}

/// Everything below a folder: links by where they lead, files by their content.
fn listing(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if kind.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            all.insert(path, content);
        }
    }
    all
}

fn within_a_minute(command: &mut Command, what: &str) -> Output {
    let begin = Instant::now();
    let mut child = command.spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("{what} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}
