//! Training that is killed, damaged, limited, led astray and watched.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use patchwork_core::{Digest, Seed};
use serde_json::Value;

use crate::program::{Program, children, differences, files, kill, with};
use crate::readers;

/// Everything that training can do, in one.
const RUN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--until",
    "train",
    "--set",
    "stages.prepare.labels=group",
    "--set",
    "stages.train.class_conditional=true",
    "--set",
    "stages.train.label_dropout=0.2",
    "--set",
    "stages.sample.labels=balanced",
    "--set",
    "stages.train.network.dropout=0.1",
    "--set",
    "stages.train.mirror_probability=0.5",
    "--set",
    "stages.train.augment_probability=0.15",
    "--set",
    "stages.train.gradient_clip=1.0",
    "--set",
    "stages.train.gradient_accumulation=2",
    "--set",
    "stages.train.duration_images=1500",
    "--set",
    "stages.train.snapshot_images=[400]",
    "--set",
    "stages.train.snapshot_kimg=0.25",
    "--set",
    "stages.train.snapshots_kept=2",
    "--set",
    "stages.train.snapshot_samples=4",
    "--set",
    "stages.train.log_every_seconds=0",
];

/// The names of the files of the one artifact of training.
fn trained(program: &Program) -> Vec<String> {
    let artifacts = program.artifacts();
    let files = artifacts
        .keys()
        .filter(|path| path.iter().any(|part| part == "train"));
    files
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The records of the checkpoints in the folder of the one stage at work.
fn checkpoints(program: &Program) -> Vec<PathBuf> {
    let Ok(work) = program.home().join("work").read_dir() else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = work
        .filter_map(|stage| stage.ok()?.path().join("state").read_dir().ok())
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("json")))
        .collect();
    found.sort();
    found
}

/// Waits until there are checkpoints that `wanted` wants, or the program has ended; says whether it is still at work.
fn wait_for(program: &Program, child: &mut Child, wanted: impl Fn(&[PathBuf]) -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if wanted(&checkpoints(program)) {
            return true;
        }
        assert!(
            begin.elapsed() < Duration::from_mins(2),
            "no checkpoint comes"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The step that a checkpoint's name has.
fn step(record: &Path) -> u64 {
    let name = record.file_name().unwrap().to_str().unwrap();
    name["checkpoint-".len()..][..9].parse().unwrap()
}

/// Killed at any step, under another cadence of checkpoints each time, once with its newest checkpoint damaged, and
/// stopped by limits: always the same bytes.
#[test]
fn whatever_happens_training_ends_with_the_same_bytes() {
    let undisturbed = Program::new();
    undisturbed.succeed(RUN);
    let expected = undisturbed.artifacts();
    let names = trained(&undisturbed);
    for file in [
        "snapshot-000000400.safetensors",
        "snapshot-000001000.safetensors",
        "snapshot-000001250.png",
        "network.safetensors",
        "network.png",
    ] {
        assert!(names.iter().any(|name| name == file), "{file}: {names:?}");
    }
    let snapshots = names.iter().filter(|name| name.starts_with("snapshot-"));
    assert_eq!(snapshots.count(), 6, "{names:?}");

    let mut chance = Seed::new(6).derive("kills").stream();
    let program = Program::new();
    let mut damaged = false;
    for cadence in [
        "stages.train.checkpoint_minutes=0",
        "stages.train.checkpoint_kimg=0.02",
        "stages.train.checkpoint_kimg=0.05",
        "stages.train.checkpoint_minutes=0.001",
    ] {
        let before = checkpoints(&program)
            .last()
            .map_or(0, |record| step(record));
        let kill_at = before + 1 + chance.below(8);
        let mut child = program.start(&with(RUN, &[cadence]));
        let at_work = wait_for(&program, &mut child, |records| {
            records.len() == 2 && step(&records[1]) >= kill_at
        });
        // The worker too: left alone, it would write a checkpoint before its end.
        let workers = children(child.id());
        child.kill().unwrap();
        for worker in &workers {
            kill(worker);
        }
        child.wait().unwrap();
        assert!(at_work, "training ended before it was killed");
        wait_for_worker(&program);
        if !damaged {
            damaged = true;
            let newest = checkpoints(&program)
                .pop()
                .unwrap()
                .with_extension("safetensors");
            let mut bytes = std::fs::read(&newest).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&newest, bytes).unwrap();
        }
    }
    let warnings = program.rows(&[
        "query",
        "SELECT message FROM events WHERE level = 'warning'",
    ]);
    let reported = warnings.iter().filter(|row| {
        let message = row["message"].as_str().unwrap();
        message.contains("cannot be used") && message.contains("going back to the one before it")
    });
    assert_eq!(reported.count(), 1, "{warnings:?}");

    for (limit, words) in [
        ("stages.train.max_minutes=0.000001", "`max_minutes`"),
        ("stages.train.max_kimg=1.3", "`max_kimg` = 1.3, "),
    ] {
        let output = program.run(&with(RUN, &[limit]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(
            said.contains(words) && said.contains("images seen"),
            "{said}"
        );
    }
    let status = program.rows(&["query", "SELECT status FROM runs ORDER BY id DESC LIMIT 1"]);
    assert_eq!(status[0]["status"], "interrupted");
    program.succeed(RUN);
    assert_eq!(
        differences(&expected, &program.artifacts()),
        Vec::<PathBuf>::new()
    );
}

/// Until a worker is gone, its folder is not at rest.
fn wait_for_worker(program: &Program) {
    let begin = Instant::now();
    let locks = program.home().join("locks");
    while begin.elapsed() < Duration::from_secs(20) {
        let free = locks.read_dir().is_ok_and(|mut files| {
            files.all(|file| {
                let file = std::fs::File::open(file.unwrap().path()).unwrap();
                file.try_lock().is_ok()
            })
        });
        if free {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the worker does not end");
}

/// Prints the steps of each curve of a folder, and those of its pictures, as TensorBoard shows them.
const TENSORBOARD: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
events.Reload()
tags = events.Tags()
curves = {tag: [event.step for event in events.Scalars(tag)] for tag in tags["scalars"]}
curves["pictures"] = [[event.step, event.width, event.height] for event in events.Images("samples")]
print(json.dumps(curves))
"#;

/// A worker that is killed and started again within its run leaves every step once, in the registry and for
/// TensorBoard.
#[test]
fn a_retried_training_records_every_step_once() {
    let program = Program::new();
    let settings = ["stages.train.retries=2", "stages.train.checkpoint_kimg=0.1"];
    let mut child = program.start(&with(RUN, &settings));
    // Steps after the checkpoint, which will be done again.
    assert!(wait_for(&program, &mut child, |records| !records.is_empty()));
    std::thread::sleep(Duration::from_millis(150));
    let sql = "SELECT pid FROM attempts WHERE stage = 'train' AND ended IS NULL";
    let pid = program.rows(&["query", sql])[0]["pid"].to_string();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid])
        .status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("retrying"),
        "{said}"
    );

    let series = || {
        program.rows(&[
            "query",
            "SELECT name, step, time FROM metrics ORDER BY name, step",
        ])
    };
    let points = series();
    for pair in points
        .windows(2)
        .filter(|pair| pair[0]["name"] == pair[1]["name"])
    {
        assert!(
            pair[0]["time"].as_str() <= pair[1]["time"].as_str(),
            "{pair:?}"
        );
    }
    let logs = program.home().join("logs/smoke-1/tensorboard/train");
    assert_eq!(logs.read_dir().unwrap().count(), 2, "a file an attempt");
    let shown = readers::python(TENSORBOARD, &[logs.as_os_str()]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    for (name, steps) in shown.as_object().unwrap() {
        let recorded: Vec<&Value> = points
            .iter()
            .filter(|point| point["name"] == *name)
            .map(|point| &point["step"])
            .collect();
        if name == "pictures" {
            let times: Vec<i64> = [250, 400, 500, 750, 1000, 1250].into();
            let steps = steps.as_array().unwrap();
            assert_eq!(steps.len(), times.len() + 1, "{steps:?}");
            // Two by two images of 16, twice as large, with gaps of 2.
            assert!(
                steps.iter().all(|step| step[1] == 70 && step[2] == 70),
                "{steps:?}"
            );
            assert!(
                times.iter().zip(steps).all(|(time, step)| step[0] == *time),
                "{steps:?}"
            );
        } else {
            assert_eq!(
                steps.as_array().unwrap().iter().collect::<Vec<_>>(),
                recorded,
                "{name}"
            );
        }
    }
    for name in [
        "loss",
        "loss_by_side/4",
        "loss_by_side/16",
        "loss_by_noise/0.20-0.50",
        "loss_ratio",
        "gradient_norm",
        "cleaned_share",
        "update_ratio",
        "learning_rate",
        "ema_beta",
        "images_per_second",
        "data_share",
        "memory_mib",
    ] {
        assert!(
            points.iter().any(|point| point["name"] == name),
            "{name} is missing"
        );
    }
    // The folder of the run records the same.
    std::fs::remove_file(program.home().join("registry.db")).unwrap();
    program.succeed(&["registry", "rebuild"]);
    assert_eq!(series(), points);
}

/// A rate at which the weights overflow in the first step.
const ASTRAY: &[&str] = &[
    "stages.train.learning_rate=1e38",
    "stages.train.learning_rate_rampup_images=0",
    "stages.train.learning_rate_decay_images=0",
    "stages.train.snapshot_samples=0",
    // However slow the machine is: the only checkpoint is the first.
    "stages.train.checkpoint_minutes=60",
];

#[test]
fn a_divergence_is_dealt_with_as_wished() {
    const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];
    let program = Program::new();
    let attempt = |wish: &str| {
        let output = program.run(&with(&with(TRAIN, ASTRAY), &[wish]));
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = attempt("stages.train.on_divergence=stop");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("the loss is") && said.contains("`learning_rate`"),
        "{said}"
    );

    let (code, said) = attempt("stages.train.on_divergence=rollback");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        said.matches("back to the checkpoint at 0 images").count(),
        3,
        "{said}"
    );
    assert!(said.contains("after 3 rollbacks"), "{said}");

    let (code, said) = attempt("stages.train.on_divergence=continue");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("continuing, as").count(), 1, "{said}");

    // What the network generates then is not an image. Training says so and ends; sampling fails.
    let drawn = [
        "stages.train.on_divergence=continue",
        "stages.train.snapshot_samples=4",
        "stages.train.snapshot_evaluation={samples = 8, steps = 2, reference_images = 8}",
    ];
    let sample = ["run", "pipelines/smoke.toml", "--until", "sample"];
    let output = program.run(&with(&with(&sample, ASTRAY), &drawn));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "sampling a network's images failed (the image of seed 0 has non-finite values",
        "measuring a network failed (the image of seed 0 has",
        "no network could be measured",
    ] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
    let artifacts = program.home().join("artifacts");
    let trained = std::fs::read_dir(artifacts.join("train")).unwrap();
    assert_eq!(
        (trained.count(), artifacts.join("sample").exists()),
        (2, false)
    );
}

/// Weights that overflow in the second step, with a checkpoint due after each: the sound ones from before it stay.
#[test]
fn non_finite_weights_push_out_no_checkpoint() {
    const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];
    let (seldom, astray) = ASTRAY.split_last().unwrap();
    assert!(seldom.contains("checkpoint_minutes"));
    let at_once = [
        "stages.train.learning_rate=1e39",
        "stages.train.checkpoint_minutes=0",
        "stages.train.on_divergence=stop",
    ];
    let astray = with(&with(TRAIN, astray), &at_once);
    let program = Program::new();
    // However often it is tried.
    for _ in 0..2 {
        let output = program.run(&astray);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let left = checkpoints(&program);
        let steps: Vec<u64> = left.iter().map(|record| step(record)).collect();
        assert_eq!(steps, [0, 1]);
        let sound = left[1].with_extension("safetensors");
        for words in ["is not written, since weights", sound.to_str().unwrap()] {
            assert!(said.contains(words), "`{words}` is missing in: {said}");
        }
    }
}

/// The newest checkpoint has non-finite weights, and a right digest: they had gone astray before it was written.
#[test]
fn a_checkpoint_that_was_astray_already_is_passed_over() {
    const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];
    let often = "stages.train.checkpoint_minutes=0";
    let wish = "stages.train.on_divergence=rollback";
    let program = Program::new();
    let paused = program.run(&with(TRAIN, &[often, wish, "stages.train.max_kimg=0.1"]));
    assert_eq!(paused.status.code(), Some(130));
    let mut checkpoints: Vec<PathBuf> = files(&program.home().join("work"))
        .into_keys()
        .filter(|path| {
            path.to_string_lossy().contains("checkpoint-")
                && path.extension().is_some_and(|end| end == "safetensors")
        })
        .map(|path| program.home().join("work").join(path))
        .collect();
    checkpoints.sort();
    assert_eq!(checkpoints.len(), 2);
    let newest = checkpoints.pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (name, tensor) in header.as_object().unwrap() {
        if name.starts_with("network/") && !name.ends_with("resample_filter") {
            let place = |end: usize| tensor["data_offsets"][end].as_u64().unwrap() as usize;
            for value in bytes[8 + length..][place(0)..place(1)].as_chunks_mut().0 {
                *value = f32::NAN.to_le_bytes();
            }
        }
    }
    std::fs::write(&newest, &bytes).unwrap();
    let record = newest.with_extension("json");
    let mut changed: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    changed["blake3"] = serde_json::to_value(Digest::of(&bytes)).unwrap();
    std::fs::write(&record, changed.to_string()).unwrap();

    // No checkpoint but these while it runs.
    let seldom = "stages.train.checkpoint_minutes=60";
    let output = program.run(&with(TRAIN, &[seldom, wish]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the one before it is taken"), "{said}");
}

#[test]
fn training_starts_from_a_given_network_or_says_why_not() {
    const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];
    let program = Program::new();
    program.succeed(&with(TRAIN, &["stages.train.duration_images=320"]));
    let artifacts = program.artifacts();
    let (path, bytes) = artifacts
        .iter()
        .find(|(path, _)| path.ends_with("network.safetensors"))
        .unwrap();
    let given = program.home().join("given.safetensors");
    std::fs::copy(program.home().join("artifacts").join(path), &given).unwrap();
    let init = format!("stages.train.init_from={}", given.display());
    let tuned = [init.as_str(), "stages.train.snapshot_images=[0]"];
    program.succeed(&with(TRAIN, &tuned));
    let made = program.artifacts();
    let (_, first) = made
        .iter()
        .find(|(path, _)| path.ends_with("snapshot-000000000.safetensors"))
        .unwrap();
    assert!(
        first == bytes,
        "before its first step it is the given network"
    );
    // The file's content counts, not its place.
    let moved = program.home().join("moved.safetensors");
    std::fs::rename(&given, &moved).unwrap();
    let again = format!("stages.train.init_from={}", moved.display());
    program.succeed(&with(TRAIN, &[&again, "stages.train.snapshot_images=[0]"]));
    assert_eq!(
        differences(&made, &program.artifacts()),
        Vec::<PathBuf>::new()
    );

    for (settings, code, words) in [
        (
            vec![init.as_str()],
            2,
            vec!["init_from", "given.safetensors"],
        ),
        (
            vec![again.as_str(), "stages.train.network.model_channels=16"],
            1,
            vec!["init_from", "has the shape"],
        ),
        (
            vec!["stages.train.memory_gib=0.1"],
            1,
            vec!["a step takes about", "`memory_gib` allows 0.1 GiB"],
        ),
    ] {
        let output = program.run(&with(TRAIN, &settings));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is missing in: {said}");
        }
    }
}
