//! Failures beside the training itself, which it outlives.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::program::{Program, differences, with};

const TRAIN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--until",
    "train",
    "--set",
    "stages.train.snapshot_images=[150]",
    "--set",
    "stages.train.snapshot_samples=4",
];

/// The folder in which training is at work, or would be.
fn work(program: &Program) -> PathBuf {
    let planned = program.rows(&[TRAIN, &["--dry-run"]].concat());
    let train = planned.iter().find(|row| row["stage"] == "train").unwrap();
    let folder = train["fingerprint"].as_str().unwrap();
    program.home().join("work").join(folder)
}

fn warnings(program: &Program) -> Vec<String> {
    let question = "SELECT message FROM events WHERE level = 'warning'";
    let rows = program.rows(&["query", question]);
    let texts = rows.iter().map(|row| row["message"].as_str().unwrap());
    texts.map(str::to_owned).collect()
}

#[test]
fn where_no_checkpoint_can_be_used_training_is_not_begun_anew() {
    let undisturbed = Program::new();
    undisturbed.succeed(TRAIN);
    let program = Program::new();
    let often = "stages.train.checkpoint_minutes=0";
    let paused = program.run(&with(TRAIN, &[often, "stages.train.max_kimg=0.2"]));
    assert_eq!(paused.status.code(), Some(130));
    let state = work(&program).join("state");
    let checkpoints: Vec<(PathBuf, Vec<u8>)> = state
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert_eq!(checkpoints.len(), 2);
    for (path, bytes) in &checkpoints {
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let refused = program.run(TRAIN);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for word in ["none of the checkpoints can be used", "delete it", "state"] {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
    for (path, bytes) in &checkpoints {
        fs::write(path, bytes).unwrap();
    }
    let resumed = program.succeed(&with(TRAIN, &[often]));
    assert!(resumed.contains("succeeded"), "{resumed}");
    assert_eq!(
        differences(&undisturbed.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn pictures_and_curves_that_cannot_be_written_do_not_end_training() {
    let undisturbed = Program::new();
    undisturbed.succeed(TRAIN);
    let program = Program::new();
    // A file where TensorBoard's folder belongs, and a folder where a picture does.
    let picture = work(&program).join("artifact/snapshot-000000150.png");
    fs::create_dir_all(&picture).unwrap();

    let failing = program.start(TRAIN);
    let logs = program.home().join("logs/smoke-1");
    while !logs.is_dir() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fs::write(logs.join("tensorboard"), "").unwrap();
    let failed = failing.wait_with_output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    // At the end the picture is tried again, and is missed.
    assert_eq!(failed.status.code(), Some(1), "{said}");
    let reported = warnings(&program);
    for words in [
        "TensorBoard's files cannot be written",
        "sampling a snapshot's images failed",
    ] {
        let count = reported.iter().filter(|text| text.contains(words)).count();
        assert_eq!(count, 1, "{words}: {reported:?}");
    }
    let recorded = "SELECT MAX(step) AS step FROM metrics WHERE name = 'loss'";
    let last: &Value = &program.rows(&["query", recorded])[0]["step"];
    assert!(last.as_u64().unwrap() > 150, "{last}");

    fs::remove_dir(&picture).unwrap();
    program.succeed(TRAIN);
    assert_eq!(
        differences(&undisturbed.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
}
