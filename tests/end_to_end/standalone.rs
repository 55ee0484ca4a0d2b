//! `train`, `sample` and `evaluate` on files: what they make is what a pipeline makes, also when they are killed.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::program::{Program, text};

const PIPELINE: &str = "pipelines/smoke.toml";

#[test]
fn stages_on_files_make_what_a_pipeline_makes() {
    let program = Program::new();
    program.succeed(&["run", PIPELINE, "--until", "train"]);
    let data = program.artifact("prepare");
    let in_pipeline = program.artifact("train");
    let place = |name: &str| program.home().join(name);

    let out = place("network");
    let train = [
        "train",
        PIPELINE,
        "--data",
        text(&data),
        "--out",
        text(&out),
        // A checkpoint after every step.
        "--set",
        "checkpoint_minutes=0",
    ];
    let mut killed = program.start(&train);
    let begin = Instant::now();
    let work = place("network.work/work");
    while !has_state(&work) && begin.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(
        !out.exists(),
        "a killed training leaves no half of a result"
    );
    program.succeed(&train);
    for file in ["network.safetensors", "loss.json"] {
        assert_eq!(
            std::fs::read(out.join(file)).unwrap(),
            std::fs::read(in_pipeline.join(file)).unwrap(),
            "{file}"
        );
    }
    assert!(!place("network.work").exists(), "nothing is left behind");
    assert!(place("network.logs").is_dir());
    // Again: nothing is done, nothing changes.
    program.succeed(&train);

    let network_file = out.join("network.safetensors");
    let mut drawn = Vec::new();
    for (name, network) in [("samples", out.as_path()), ("bare", network_file.as_path())] {
        let samples = place(name);
        program.succeed(&[
            "sample",
            text(network),
            "--seeds",
            "0-3",
            "--steps",
            "4",
            "--out",
            text(&samples),
        ]);
        drawn.push(std::fs::read(samples.join("grid.png")).unwrap());
    }
    assert_eq!(
        drawn[0], drawn[1],
        "a network's file is as good as its folder"
    );

    for (arguments, words) in [
        (
            vec!["train", PIPELINE, "--data", "docs", "--out", "/tmp/x"],
            ["docs", "not an artifact"],
        ),
        (
            vec!["train", PIPELINE, "--data", text(&data), "--out", "docs"],
            ["docs", "exists"],
        ),
        (
            vec!["sample", text(&out), "--seeds", "5-1", "--out", "/tmp/x"],
            ["5-1", "seeds"],
        ),
        (
            vec!["sample", text(&data), "--out", "/tmp/x"],
            ["prepare", "train"],
        ),
        (
            // Before any raw image is prepared.
            vec![
                "evaluate",
                "docs/images",
                text(&data),
                "--set",
                "evaluate.baselines=real-halves",
            ],
            ["baselines", "list"],
        ),
    ] {
        let output = program.run(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        for word in words {
            assert!(message.contains(word), "`{word}` is missing in: {message}");
        }
    }
}

/// Whether a worker has begun to fill a folder for what it needs after a crash.
fn has_state(work: &Path) -> bool {
    std::fs::read_dir(work).is_ok_and(|mut folders| {
        folders.any(|folder| {
            let state = folder.unwrap().path().join("state");
            std::fs::read_dir(state).is_ok_and(|mut files| files.next().is_some())
        })
    })
}
