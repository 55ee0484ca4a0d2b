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
fn work(program: &Program, run: &[&str]) -> PathBuf {
    let planned = program.rows(&[run, &["--dry-run"]].concat());
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
    let state = work(&program, TRAIN).join("state");
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
    let picture = work(&program, TRAIN).join("artifact/snapshot-000000150.png");
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

/// The last regular snapshot cannot be measured on the way, and is the best at the end: the one that was the best before is
/// removed, and the attempt fails before it is published.
#[test]
fn a_training_at_its_end_is_published_whatever_gave_way_there() {
    let train = with(
        TRAIN,
        &[
            "stages.train.snapshot_images=[]",
            "stages.train.snapshot_samples=4",
            "stages.train.snapshot_kimg=0.2",
            "stages.train.snapshots_kept=1",
            "stages.train.snapshot_evaluation={samples = 32, steps = 2, reference_images = 32}",
        ],
    );
    let undisturbed = Program::new();
    undisturbed.succeed(&train);
    let measured = undisturbed.artifact("train").join("snapshots.json");
    let measured: Value = serde_json::from_slice(&fs::read(measured).unwrap()).unwrap();
    let of = |file: &str| {
        let mut all = measured.as_array().unwrap().iter();
        all.find(|one| one["file"] == file).unwrap()
    };
    let [before, last] = [
        "snapshot-000000200.safetensors",
        "snapshot-000000400.safetensors",
    ];
    let value = |file: &str| of(file)["value"].as_f64().unwrap();
    assert!(value(last) < value(before), "{measured}");

    let program = Program::new();
    let paused = |kimg: &str| {
        let limit = format!("stages.train.max_kimg={kimg}");
        let output = program.run(&with(&train, &[&limit]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        said
    };
    paused("0.3");
    let work = work(&program, &train);
    // A file where the features of its samples belong.
    let network = of(last)["network"].as_str().unwrap();
    let obstacle = work.join(format!("state/features-{network}"));
    fs::write(&obstacle, "").unwrap();
    let said = paused("0.5");
    assert!(said.contains("measuring a snapshot failed"), "{said}");
    fs::remove_file(obstacle).unwrap();
    assert!(work.join("artifact").join(before).is_file());

    // A folder where a file of the end belongs.
    let obstacle = work.join("artifact/loss.png");
    fs::create_dir(&obstacle).unwrap();
    let failed = program.run(&train);
    assert_eq!(failed.status.code(), Some(1));
    assert!(!work.join("artifact").join(before).exists());
    fs::remove_dir(&obstacle).unwrap();
    program.succeed(&train);
    assert_eq!(
        differences(&undisturbed.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
}
